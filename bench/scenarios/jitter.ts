// Jitter: connections that break all the time while messages go on; who gets everything, once, and how soon.
import { setTimeout as pause } from 'node:timers/promises';
import { clusterOf, openClients, publish, publishAtRate, summarize, until } from '../cluster/contest.ts';
import type { Measured, Scenario } from '../scenario.ts';

const CLIENTS = 1_000;
const MESSAGES = 120;
const RATE = 2;
const CUT_EVERY_MS = 15_000;
const AWAY_MS = 2_000;
const TICK_MS = 50;
/** Around a mean, half to one and a half of it. */
const about = (mean: number): number => mean * (0.5 + Math.random());

export const jitter: Scenario = {
  name: 'jitter',
  title: `Jitter: ${CLIENTS} clients on 3 nodes, ${MESSAGES} messages at ${RATE}/s, each connection killed about every ${CUT_EVERY_MS / 1_000} s for about ${AWAY_MS / 1_000} s`,
  servers: ['weir-cluster'],
  figures: [
    { name: 'delivered', unit: '%', better: 'higher', bar: { value: 100 } },
    { name: 'duplicates', unit: '', better: 'lower', bar: { value: 0 } },
    { name: 'replay p99', unit: 'ms', better: 'lower', bar: { value: 1_000 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const isQuick = measuring.depth === 'quick';
    const [count, messages] = isQuick ? [200, 40] : [CLIENTS, MESSAGES];
    const channel = 'jitter';
    const one = (n: number): Promise<number> => publish([cluster.apiUrl], cluster.apiKey, channel, n);
    await one(-1);
    const clients = await openClients(count, { channel, url: () => cluster.wsUrl, away: () => pause(about(AWAY_MS)) });
    const cutAt = clients.map(() => performance.now() + Math.random() * CUT_EVERY_MS);
    const cutter = setInterval(() => {
      const now = performance.now();
      clients.forEach((client, index) => {
        if (now < (cutAt[index] ?? 0)) return;
        client.cut();
        cutAt[index] = now + about(CUT_EVERY_MS);
      });
    }, TICK_MS);
    try {
      const head = await publishAtRate(RATE, messages, one);
      clearInterval(cutter);
      await until(() => clients.every((client) => client.isSubscribed() && client.offset() >= head));
      const result = summarize(clients, messages, head);
      return {
        rows: [result.row],
        figures: {
          delivered: result.deliveredPercent,
          duplicates: result.duplicates,
          'replay p99': result.replayP99Ms,
        },
        runs: [],
      };
    } finally {
      clearInterval(cutter);
      for (const client of clients) client.stop();
    }
  },
};
