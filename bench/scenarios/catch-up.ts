// Catch-up: what 1 000 clients that lost their node missed, how soon they have it, and what others feel of it.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { clusterOf, openClients, percentile, publish, summarize, type Summary, until } from '../cluster/contest.ts';
import type { ProbeOrder, ProbeReport } from '../cluster/live-probe.ts';
import { type Measured, round, type Row, type Scenario } from '../scenario.ts';

const CLIENTS = 1_000;
const MISSED = 300;
/** One takes about a second, in which the probe sees some 50 publications: too few for a 99th percentile. */
const ROUNDS = 5;
const WARM_UP_MS = 8_000;
const BEFORE_MS = 3_000;
/** Full jitter of a first reconnect, as every client of the protocol has it (docs/protocol.md). */
const RECONNECT_MS = 1_000;

interface Lost extends Summary {
  readonly allMs: number;
  readonly before: ProbeReport;
  readonly during: ProbeReport;
}

const wsUrlOf = ({ url }: { readonly url: string }): string => `${url.replace('http', 'ws')}/v1/ws`;

const percentilesOf = (latenciesMs: readonly number[]): Row => ({
  deliveries: latenciesMs.length,
  'p50 ms': round(percentile(latenciesMs, 0.5), 1),
  'p99 ms': round(percentile(latenciesMs, 0.99), 1),
});

const report = async (probe: ChildProcess): Promise<ProbeReport> => {
  probe.send('report');
  const [answer] = (await once(probe, 'message')) as [ProbeReport];
  return answer;
};

export const catchUp: Scenario = {
  name: 'catch-up',
  title: `Catch-up: kill -9 of the node of ${CLIENTS} clients, ${MISSED} messages meanwhile, all come to another node within ${RECONNECT_MS} ms; ${ROUNDS} times`,
  servers: ['weir-cluster'],
  figures: [
    { name: 'all caught up', unit: 'ms', better: 'lower', bar: { value: 3_000 } },
    { name: 'live p99 against before', unit: 'x', better: 'lower', bar: { value: 2 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const { depth, pinning, say } = measuring;
    const [count, rounds] = depth === 'quick' ? [200, 1] : [CLIENTS, ROUNDS];
    const [safe] = cluster.nodes;
    if (safe === undefined) throw new Error('needs a node');
    const channel = 'catch-up';
    const one = (n: number): Promise<number> => publish([safe.url], cluster.apiKey, channel, n);
    await one(-1);

    /** One node dies. Answers how long until all of its clients had what they missed. */
    const lose = async (probe: ChildProcess, firstMissed: number): Promise<Lost> => {
      const doomed = await cluster.addNode();
      await pinning.release(doomed.pid);
      let target = wsUrlOf(doomed);
      let release: () => void = () => undefined;
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      const clients = await openClients(count, {
        channel,
        url: () => target,
        away: () => released.then(() => pause(Math.random() * RECONNECT_MS)),
      });
      try {
        await report(probe);
        await pause(BEFORE_MS);
        const before = await report(probe);
        doomed.kill('SIGKILL');
        await until(() => clients.every((client) => !client.isSubscribed()));
        let head = 0;
        for (let n = 0; n < MISSED; n += 1) head = await one(firstMissed + n);
        await report(probe);
        target = wsUrlOf(safe);
        const backAt = performance.now();
        release();
        await until(() => clients.every((client) => client.isSubscribed() && client.offset() >= head));
        const during = await report(probe);
        const allMs = Math.max(...clients.map(({ tally }) => tally.caughtUpAt)) - backAt;
        say(`all caught up after ${round(allMs)} ms`);
        return { ...summarize(clients, MISSED, head), allMs, before, during };
      } finally {
        for (const client of clients) client.stop();
      }
    };

    const probe = fork(join(import.meta.dirname, '..', 'cluster', 'live-probe.ts'), { execArgv: ['--import', 'tsx'] });
    try {
      if (probe.pid !== undefined) await pinning.release(probe.pid);
      const order: ProbeOrder = { url: safe.url, wsUrl: wsUrlOf(safe), apiKey: cluster.apiKey };
      probe.send(order);
      await pause(WARM_UP_MS);
      const results: Lost[] = [];
      for (let n = 0; n < rounds; n += 1) results.push(await lose(probe, n * MISSED));
      const before = results.flatMap((result) => result.before.latenciesMs);
      const during = results.flatMap((result) => result.during.latenciesMs);
      const slowest = Math.max(...results.map(({ allMs }) => allMs));
      const isComplete = results.every((result) => result.lost + result.duplicates + result.neverBack === 0);
      const times = percentile(during, 0.99) / percentile(before, 0.99);
      return {
        rows: [
          ...results.map(({ row, allMs }) => ({ ...row, 'all caught up ms': round(allMs) })),
          ...[
            { live: 'before', ...percentilesOf(before) },
            { live: 'during', ...percentilesOf(during) },
          ],
        ],
        figures: isComplete ? { 'all caught up': slowest, 'live p99 against before': times } : {},
        runs: [],
      };
    } finally {
      if (probe.connected) probe.disconnect();
    }
  },
};
