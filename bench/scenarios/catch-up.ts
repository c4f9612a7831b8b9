// Catch-up: what 1 000 clients that lost their node missed, how soon they have it, and what others feel of it.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { clusterOf, openClients, publish, summarize, until } from '../cluster/contest.ts';
import type { ProbeOrder, ProbeReport } from '../cluster/live-probe.ts';
import { type Measured, round, type Scenario } from '../scenario.ts';

const CLIENTS = 1_000;
const MISSED = 300;
const BEFORE_MS = 8_000;
/** Full jitter of a first reconnect, as every client of the protocol has it (docs/protocol.md). */
const RECONNECT_MS = 1_000;

const report = async (probe: ChildProcess): Promise<ProbeReport> => {
  probe.send('report');
  const [answer] = (await once(probe, 'message')) as [ProbeReport];
  return answer;
};

export const catchUp: Scenario = {
  name: 'catch-up',
  title: `Catch-up: kill -9 of the node of ${CLIENTS} clients, ${MISSED} messages meanwhile, all come to another node within ${RECONNECT_MS} ms`,
  servers: ['weir-cluster'],
  figures: [
    { name: 'all caught up', unit: 'ms', better: 'lower', bar: { value: 3_000 } },
    { name: 'live p99 against before', unit: 'x', better: 'lower', bar: { value: 2 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const { depth, pinning, say } = measuring;
    const count = depth === 'quick' ? 200 : CLIENTS;
    const [doomed, safe] = cluster.nodes;
    if (doomed === undefined || safe === undefined) throw new Error('needs two nodes');
    const wsUrlOf = ({ url }: { readonly url: string }): string => `${url.replace('http', 'ws')}/v1/ws`;
    const channel = 'catch-up';
    const one = (n: number): Promise<number> => publish([safe.url], cluster.apiKey, channel, n);
    await one(-1);

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
    const probe = fork(join(import.meta.dirname, '..', 'cluster', 'live-probe.ts'), { execArgv: ['--import', 'tsx'] });
    try {
      if (probe.pid !== undefined) await pinning.release(probe.pid);
      const order: ProbeOrder = { url: safe.url, wsUrl: wsUrlOf(safe), apiKey: cluster.apiKey };
      probe.send(order);
      // The first period warms the probe up, the second is what is normal.
      await pause(BEFORE_MS);
      await report(probe);
      await pause(BEFORE_MS);
      const before = await report(probe);

      doomed.kill('SIGKILL');
      await until(() => clients.every((client) => !client.isSubscribed()));
      let head = 0;
      for (let n = 0; n < MISSED; n += 1) head = await one(n);
      await report(probe);
      target = wsUrlOf(safe);
      const backAt = performance.now();
      release();
      await until(() => clients.every((client) => client.isSubscribed() && client.offset() >= head));
      const during = await report(probe);
      const result = summarize(clients, MISSED, head);
      const allMs = Math.max(...clients.map(({ tally }) => tally.caughtUpAt)) - backAt;
      const isComplete = result.lost === 0 && result.duplicates === 0 && result.neverBack === 0;
      say(`all caught up after ${round(allMs)} ms`);
      return {
        rows: [
          {
            ...result.row,
            'all caught up ms': round(allMs),
            'live p99 before ms': round(before.p99Ms, 1),
            'live p99 during ms': round(during.p99Ms, 1),
            'live deliveries during': during.deliveries,
          },
        ],
        figures: isComplete ? { 'all caught up': allMs, 'live p99 against before': during.p99Ms / before.p99Ms } : {},
        runs: [],
      };
    } finally {
      for (const client of clients) client.stop();
      if (probe.connected) probe.disconnect();
    }
  },
};
