// Memory budget: half-slow clients that together would owe several times the budget, beside readers that keep up.
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { LoadResult } from '../load-types.ts';
import { sampleOf } from '../metrics.ts';
import {
  baseLoad,
  type Measured,
  type Measuring,
  noteOf,
  round,
  type Row,
  publications,
  type Scenario,
  serverCpu,
} from '../scenario.ts';
import type { BenchServer } from '../servers.ts';

const MiB = 1024 * 1024;
const BUDGET_BYTES = 128 * MiB;
const SLOW = 4_000;
/** Of three slow clients one reads nothing, one a little, one half of what is published. Bytes per second. */
const PACES = [0, 4_000, 100_000] as const;
const READERS = 100;
const RATE = 200;
const PAYLOAD_BYTES = 1_024;
const SECONDS = 40;
const WARM_UP_SECONDS = 10;
const POLL_MS = 250;
/** Until then the slow clients connect; they owe nothing yet. */
const CONNECT_MS = 5_000;
/** In this first part of the run they, and the kernel's buffers of their sockets, fill up. */
const FILLING = 0.4;

const rssOf = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024;
};

interface Reading {
  readonly seconds: number;
  readonly count?: number;
  readonly earlyMs?: number;
}

const readers = (
  { load, server }: Measuring,
  { seconds, count = READERS, earlyMs = 0 }: Reading,
): Promise<LoadResult> =>
  load({
    ...baseLoad(server, count),
    sampleEvery: count / 20,
    publish: { ...publications(server, RATE, RATE * seconds), connections: 8, payloadBytes: PAYLOAD_BYTES, earlyMs },
  });

const sample = (metrics: string, name: string, label: string): number => sampleOf(metrics, `${name}{${label}}`);

/** The most the node accounted for, and between what its RSS lay once the slow clients had filled up. */
const watch = async (server: BenchServer, fillMs: number, ended: AbortSignal) => {
  const rss: number[] = [];
  let accounted = 0;
  const startedAt = performance.now();
  while (!ended.aborted) {
    const metrics = (await server.metrics?.()) ?? '';
    const parts = ['outboxes', 'rings', 'requests', 'pages'];
    const sum = parts.reduce((all, part) => all + sample(metrics, 'weir_budget_bytes', `part="${part}"`), 0);
    accounted = Math.max(accounted, sum);
    if (performance.now() - startedAt > fillMs) rss.push(await rssOf(server.pid));
    await pause(POLL_MS);
  }
  return { mostRss: Math.max(...rss), leastRss: Math.min(...rss), accounted };
};

const FIGURES = {
  rss: 'RSS over the baseline against the budget',
  whileFilling: 'p99 of readers against all keeping up, while their buffers fill',
  onPlateau: 'p99 of readers against all keeping up, from then on',
} as const;

export const budget: Scenario = {
  name: 'budget',
  title: `Memory budget of ${BUDGET_BYTES / MiB} MiB: ${SLOW} clients that read ${PACES.map((pace) => pace / 1000).join(', ')} kB/s of ${(RATE * PAYLOAD_BYTES) / 1000} kB/s, beside ${READERS} readers`,
  servers: ['weir-memory'],
  figures: [
    { name: FIGURES.rss, unit: '', better: 'lower', bar: { value: 1.1 } },
    { name: FIGURES.whileFilling, unit: '', better: 'lower', bar: { value: 1.3 } },
    { name: FIGURES.onPlateau, unit: '', better: 'lower', bar: { value: 1.3 } },
  ],
  env: {
    WEIR_MEMORY_BUDGET_BYTES: String(BUDGET_BYTES),
    // What the clients may leave unfinished is reserved out of the budget: small, so that most of it is theirs to owe.
    WEIR_MAX_FRAME_BYTES: '4096',
    // Those who were closed come back at once, and shall.
    WEIR_OVERLOAD_BUFFERED_PERCENT: '0',
  },
  measure: async (measuring): Promise<Measured> => {
    const { server, depth, say, holdSlowReaders } = measuring;
    const seconds = depth === 'quick' ? SECONDS / 2 : SECONDS;
    // Warms the heap up, so that its growth is not taken for the clients'.
    await readers(measuring, { seconds: WARM_UP_SECONDS });
    const slow = holdSlowReaders({
      ...baseLoad(server, 0),
      holdMs: CONNECT_MS + (seconds + 3) * 1000,
      slow: { connections: SLOW, bytesPerSecond: PACES },
    });
    await pause(CONNECT_MS);
    const baseline = await rssOf(server.pid);
    const ended = new AbortController();
    const earlyMs = seconds * FILLING * 1000;
    const [run, watched] = await Promise.all([
      readers(measuring, { seconds, earlyMs }).finally(() => ended.abort()),
      watch(server, earlyMs, ended.signal),
    ]);
    const groups = await slow;
    // A flush to as many takes its time whether they read or not.
    const allKeepUp = await readers(measuring, { seconds: WARM_UP_SECONDS, count: READERS + SLOW });
    const metrics = (await server.metrics?.()) ?? '';
    const relief = (measure: string): number => sample(metrics, 'weir_budget_relief_total', `measure="${measure}"`);
    const growth = (watched.mostRss - baseline) / BUDGET_BYTES;
    const plateau = `${round(watched.leastRss / MiB)}-${round(watched.mostRss / MiB)}`;
    say(`RSS ${round(baseline / MiB)} -> ${plateau} MiB`);
    const rows: Row[] = [
      {
        who: 'node',
        'RSS before MiB': round(baseline / MiB, 1),
        'plateau MiB': plateau,
        'over the baseline': round(growth, 2),
        'accounted at most MiB': round(watched.accounted / MiB, 1),
        parked: relief('parked'),
        closed: relief('closed'),
        cut: relief('cut'),
        'readers p99 while filling ms': round(run.early.p99Ms, 1),
        'from then on ms': round(run.latency.p99Ms, 1),
        'when all keep up ms': round(allKeepUp.latency.p99Ms, 1),
        missing: run.missing,
        'server CPU': round(serverCpu(run), 2),
        'loader CPU': round(run.loaderCpu, 2),
        note: noteOf(run),
      },
      ...groups.map(({ bytesPerSecond, connections, opened, closed, refused, bytes }) => ({
        who: `${bytesPerSecond / 1000} kB/s`,
        connections,
        opened,
        closed,
        refused,
        'MB read': round(bytes / 1e6, 1),
      })),
    ];
    // One that ended early has seen no plateau.
    const isComplete =
      run.missing === 0 &&
      run.closed === 0 &&
      run.refused === 0 &&
      run.published === RATE * seconds &&
      allKeepUp.missing === 0;
    const figures = {
      [FIGURES.rss]: growth,
      [FIGURES.whileFilling]: run.early.p99Ms / allKeepUp.latency.p99Ms,
      [FIGURES.onPlateau]: run.latency.p99Ms / allKeepUp.latency.p99Ms,
    };
    return { rows, figures: isComplete ? figures : {}, runs: [run, allKeepUp] };
  },
};
