// Avalanche: every node of the cluster is restarted in turn under load; who never comes back, and what is lost.
import { setTimeout as pause } from 'node:timers/promises';
import { clusterOf, openClients, publish, publishAtRate, summarize, until } from '../cluster/contest.ts';
import type { Measured, Scenario } from '../scenario.ts';

const CLIENTS = 1_000;
const RATE = 50;
const SECONDS = 30;
const MAX_AWAY_MS = 1_000;

export const avalanche: Scenario = {
  name: 'avalanche',
  title: `Avalanche: rolling restart of all 3 nodes under ${CLIENTS} clients and ${RATE} messages/s`,
  servers: ['weir-cluster'],
  figures: [
    { name: 'never back', unit: 'clients', better: 'lower', bar: { value: 0 } },
    { name: 'lost', unit: 'messages', better: 'lower', bar: { value: 0 } },
    { name: 'duplicates', unit: '', better: 'lower', bar: { value: 0 } },
    { name: 'largest gap', unit: 'ms', better: 'lower' },
  ],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const { depth, say } = measuring;
    const [count, rate] = depth === 'quick' ? [200, 20] : [CLIENTS, RATE];
    const channel = 'avalanche';
    const one = (n: number): Promise<number> => publish([cluster.apiUrl], cluster.apiKey, channel, n);
    await one(-1);
    const clients = await openClients(count, {
      channel,
      url: () => cluster.wsUrl,
      away: () => pause(Math.random() * MAX_AWAY_MS),
    });
    const roll = async (): Promise<void> => {
      for (const { name } of [...cluster.nodes]) {
        await cluster.restartNode(name);
        say(`${name} is back`);
      }
    };
    try {
      const [head] = await Promise.all([publishAtRate(rate, rate * SECONDS, one), roll()]);
      await until(() => clients.every((client) => client.isSubscribed() && client.offset() >= head));
      const result = summarize(clients, rate * SECONDS, head);
      return {
        rows: [result.row],
        figures: {
          'never back': result.neverBack,
          lost: result.lost,
          duplicates: result.duplicates,
          'largest gap': result.largestGapMs,
        },
        runs: [],
      };
    } finally {
      for (const client of clients) client.stop();
    }
  },
};
