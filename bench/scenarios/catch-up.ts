// Catch-up: what 1 000 clients that lost their node missed, how soon they have it, and what others feel of it.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { clusterOf, percentile, publish } from '../cluster/contest.ts';
import { type CoreUse, watchCores } from '../cluster/core-use.ts';
import type { ProbeOrder, ProbeReport } from '../cluster/live-probe.ts';
import type { ReturnResult } from '../load-types.ts';
import { baseLoad, type Measured, round, type Row, type Scenario } from '../scenario.ts';

const CLIENTS = 1_000;
const MISSED = 300;
/** One takes about a second, in which the probe sees some 50 publications: too few for a 99th percentile. */
const ROUNDS = 5;
/** Before these, as in the other scenarios, what warms the node's code up. Shown beside, for a node that has just been started. */
const COLD_ROUNDS = 3;
const WARM_UP_MS = 8_000;
const BEFORE_MS = 3_000;
/** Full jitter of a first reconnect, as every client of the protocol has it (docs/protocol.md). */
const RECONNECT_MS = 1_000;
/** What the clients of the load generator subscribe to. */
const CHANNEL = 'c0';

/** What others had of the node in a period, and what the node and the clients that measure it had of the cores. */
interface Live extends ProbeReport {
  readonly node: CoreUse;
  readonly clients: CoreUse;
}

interface Lost {
  readonly result: ReturnResult;
  readonly before: Live;
  readonly during: Live;
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const liveRow = (period: string, lives: readonly Live[]): Row => {
  const latenciesMs = lives.flatMap((live) => live.latenciesMs);
  return {
    live: period,
    deliveries: latenciesMs.length,
    'p50 ms': round(percentile(latenciesMs, 0.5), 1),
    'p99 ms': round(percentile(latenciesMs, 0.99), 1),
    'clients late p99 ms': round(
      percentile(
        lives.flatMap(({ lateMs }) => lateMs),
        0.99,
      ),
      1,
    ),
    'node CPU': round(mean(lives.map(({ node }) => node.ran)), 2),
    'node without core': round(mean(lives.map(({ node }) => node.waited)), 2),
    'clients without core': round(mean(lives.map(({ clients }) => clients.waited)), 2),
  };
};

const returnRow = ({ result }: Lost): Row => ({
  clients: result.clients,
  'delivered %': round((result.received / (result.clients * MISSED)) * 100, 3),
  gaps: result.gaps,
  skipped: result.skipped,
  duplicates: result.duplicates,
  unreadable: result.unreadable,
  'never back': result.clients - result.back,
  'replay p50 ms': round(result.replayP50Ms, 1),
  'replay p99 ms': round(result.replayP99Ms, 1),
  'all caught up ms': round(result.allMs),
  'loader CPU': round(result.loaderCpu, 2),
  note: result.note,
});

const isComplete = ({ result }: Lost): boolean =>
  result.back === result.clients &&
  result.received === result.clients * MISSED &&
  result.gaps + result.skipped + result.duplicates + result.unreadable === 0;

export const catchUp: Scenario = {
  name: 'catch-up',
  title: `Catch-up: kill -9 of the node of ${CLIENTS} clients, ${MISSED} messages meanwhile, all come to another node within ${RECONNECT_MS} ms; ${ROUNDS} times, after ${COLD_ROUNDS} that do not count`,
  servers: ['weir-cluster'],
  figures: [
    { name: 'all caught up', unit: 'ms', better: 'lower', bar: { value: 3_000 } },
    { name: 'live p99 against before', unit: 'x', better: 'lower', bar: { value: 2 } },
    { name: 'the same for a node just started', unit: 'x', better: 'lower' },
  ],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const { server, depth, pinning, say, openReturning } = measuring;
    const [count, cold, rounds] = depth === 'quick' ? [200, 1, 1] : [CLIENTS, COLD_ROUNDS, ROUNDS];
    const [safe] = cluster.nodes;
    if (safe === undefined) throw new Error('needs a node');
    // The clients are no part of what is measured: the node that takes them in has its core to itself.
    await pinning.mainToServer(safe.pid);
    const one = (n: number): Promise<number> => publish([safe.url], cluster.apiKey, CHANNEL, n);
    await one(-1);

    const probe = fork(join(import.meta.dirname, '..', 'cluster', 'live-probe.ts'), { execArgv: ['--import', 'tsx'] });
    const report = async (): Promise<ProbeReport> => {
      probe.send('report');
      const [answer] = (await once(probe, 'message')) as [ProbeReport];
      return answer;
    };
    /** Begins a period; the answer ends it. */
    const observe = async (): Promise<() => Promise<Live>> => {
      const coresUsed = watchCores([safe.pid, probe.pid!]);
      await report();
      return async () => {
        const [node, clients] = coresUsed() as [CoreUse, CoreUse];
        return { ...(await report()), node, clients };
      };
    };

    /** One node dies. Answers what became of its clients, and of others meanwhile. */
    const lose = async (firstMissed: number): Promise<Lost> => {
      const doomed = await cluster.addNode();
      await using clients = await openReturning({
        ...baseLoad(server, count),
        port: doomed.port,
        return: { port: safe.port, withinMs: RECONNECT_MS },
        sampleEvery: 0,
        spinUs: 0,
        processes: [],
      });
      const endBefore = await observe();
      await pause(BEFORE_MS);
      const before = await endBefore();
      doomed.kill('SIGKILL');
      await doomed.exited;
      let head = 0;
      for (let n = 0; n < MISSED; n += 1) head = await one(firstMissed + n);
      const endDuring = await observe();
      const result = await clients.comeBack(head);
      const during = await endDuring();
      const [p99Before, p99During] = [before, during].map(({ latenciesMs }) => percentile(latenciesMs, 0.99));
      say(
        `all caught up after ${round(result.allMs)} ms, live p99 ${round(p99Before!, 1)} -> ${round(p99During!, 1)} ms`,
      );
      return { result, before, during };
    };

    try {
      const wsUrl = `${safe.url.replace('http', 'ws')}/v1/ws`;
      probe.send({ url: safe.url, wsUrl, apiKey: cluster.apiKey } satisfies ProbeOrder);
      await pause(WARM_UP_MS);
      const all: Lost[] = [];
      for (let n = 0; n < cold + rounds; n += 1) all.push(await lose(n * MISSED));
      const [first, counted] = [all.slice(0, cold), all.slice(cold)];
      const p99Of = (lives: readonly Live[]): number =>
        percentile(
          lives.flatMap(({ latenciesMs }) => latenciesMs),
          0.99,
        );
      const ratioOf = (results: readonly Lost[]): number =>
        p99Of(results.map(({ during }) => during)) / p99Of(results.map(({ before }) => before));
      const rowsOf = (results: readonly Lost[], name: string): Row[] => [
        ...results.map(returnRow),
        liveRow(
          `${name}before`,
          results.map(({ before }) => before),
        ),
        liveRow(
          `${name}during`,
          results.map(({ during }) => during),
        ),
      ];
      const slowest = Math.max(...all.map(({ result }) => result.allMs));
      return {
        rows: [...rowsOf(first, 'just started: '), ...rowsOf(counted, '')],
        figures: all.every(isComplete)
          ? {
              'all caught up': slowest,
              'live p99 against before': ratioOf(counted),
              'the same for a node just started': ratioOf(first),
            }
          : {},
        runs: [],
      };
    } finally {
      if (probe.connected) probe.disconnect();
    }
  },
};
