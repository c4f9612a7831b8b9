// Join: a fourth node comes to three under thousands of clients; how soon and how fast it gets its share, and what that costs them.
import { setTimeout as pause } from 'node:timers/promises';
import type { Cluster } from '../../loadbalancer/cluster/cluster.ts';
import { clusterOf, countBySecond, openClients, publish, publishUntil, summarize, until } from '../cluster/contest.ts';
import { type Measured, round, type Scenario } from '../scenario.ts';

const CLIENTS = 4_000;
/** A day without configuration: shortened, so that it is seen that the spread does not need so long. */
const MAX_AGE_MS = 60_000;
/** Connections a second that each node asks to move. */
const MOVES_PER_SECOND = 30;
/** Messages per second, each to every client. */
const RATE = 2;
const EVEN_SHARE = 0.1;
const POLL_MS = 250;

const countsOf = async ({ apiUrl, apiKey }: Cluster): Promise<readonly number[]> => {
  const response = await fetch(`${apiUrl}/v1/stats`, { headers: { 'X-API-Key': apiKey } });
  const stats = (await response.json()) as { readonly nodes: readonly { readonly connections: number }[] };
  return stats.nodes.map(({ connections }) => connections);
};

const totalOf = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);

/** Between the fullest and the emptiest node, as a share of the mean. */
const spreadOf = (counts: readonly number[]): number => {
  const mean = totalOf(counts) / counts.length;
  return (Math.max(...counts) - Math.min(...counts)) / mean;
};

export const joining: Scenario = {
  name: 'join',
  title: `Join: a fourth node comes to 3 with ${CLIENTS} clients through HAProxy; max age ${MAX_AGE_MS / 1_000} s, ${MOVES_PER_SECOND} moves per second and node`,
  servers: ['weir-cluster'],
  env: { WEIR_MAX_AGE_MS: String(MAX_AGE_MS), WEIR_MOVES_PER_SECOND: String(MOVES_PER_SECOND) },
  figures: [
    { name: 'spread below 10 % after', unit: 'ms', better: 'lower', bar: { value: MAX_AGE_MS } },
    { name: 'fullest second / allowed', unit: '', better: 'lower', bar: { value: 1.15 } },
    { name: 'lost', unit: 'messages', better: 'lower', bar: { value: 0 } },
    { name: 'duplicates', unit: '', better: 'lower', bar: { value: 0 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const { depth, pinning, say } = measuring;
    const count = depth === 'quick' ? CLIENTS / 4 : CLIENTS;
    const channel = 'join';
    const one = (n: number): Promise<number> => publish([cluster.apiUrl], cluster.apiKey, channel, n);
    await one(-1);
    const arrivals: { readonly node: string; readonly atMs: number }[] = [];
    const clients = await openClients(count, {
      channel,
      url: () => cluster.wsUrl,
      away: () => Promise.resolve(),
      onConnected: (node) => arrivals.push({ node, atMs: performance.now() }),
    });
    const stopped = new AbortController();
    try {
      const before = await countsOf(cluster);
      const publishing = publishUntil(stopped.signal, RATE, one);
      arrivals.length = 0;
      const startedAt = performance.now();
      const joined = await cluster.addNode();
      await pinning.release(joined.pid);
      const joinedAt = performance.now();
      say(`${joined.name} is there after ${round(joinedAt - startedAt)} ms; before ${before.join(', ')}`);
      let counts: readonly number[] = [];
      do {
        await pause(POLL_MS);
        counts = await countsOf(cluster);
      } while (
        performance.now() - joinedAt < 2 * MAX_AGE_MS &&
        // One on its way is counted nowhere, or twice: only a cluster at rest can be judged.
        (counts.length <= before.length || totalOf(counts) !== count || spreadOf(counts) >= EVEN_SHARE)
      );
      const evenMs = performance.now() - joinedAt;
      stopped.abort();
      const { head, count: published } = await publishing;
      await until(() => clients.every((client) => client.isSubscribed() && client.offset() >= head));
      const result = summarize(clients, published, head);
      const moves = arrivals.filter(({ node }) => node === joined.name);
      const firstMs = Math.min(...moves.map(({ atMs }) => atMs));
      const perSecond = countBySecond(moves.map(({ atMs }) => atMs - firstMs));
      say(`${counts.join(', ')} after ${round(evenMs)} ms`);
      return {
        rows: [
          {
            ...result.row,
            before: before.join(', '),
            after: counts.join(', '),
            'spread %': round(spreadOf(counts) * 100, 1),
            'even after ms': round(evenMs),
            moved: moves.length,
            'moved elsewhere': arrivals.length - moves.length,
            'moved by second': perSecond.join(' '),
          },
        ],
        figures: {
          'spread below 10 % after': spreadOf(counts) < EVEN_SHARE ? evenMs : Infinity,
          'fullest second / allowed': Math.max(...perSecond) / (before.length * MOVES_PER_SECOND),
          lost: result.lost,
          duplicates: result.duplicates,
        },
        runs: [],
      };
    } finally {
      stopped.abort();
      for (const client of clients) client.stop();
    }
  },
};
