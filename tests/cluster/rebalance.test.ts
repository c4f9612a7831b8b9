// A node that joins a running cluster gets its share of the connections, and nobody misses or repeats a message for it.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Gap, type Message, WeirClient } from '../../client/src/index.ts';
import { type Cluster, requestJson, startCluster, waitFor } from '../support/index.ts';

const CLIENTS = 60;
const MOVES_PER_SECOND = 20;
const channel = 'rebalance';

let cluster: Cluster;
const clients: WeirClient[] = [];
beforeAll(async () => {
  cluster = await startCluster({ nodes: 2, env: { WEIR_MOVES_PER_SECOND: String(MOVES_PER_SECOND) } });
});
afterAll(async () => {
  for (const client of clients) client.disconnect();
  await cluster.stop();
});

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const api = (path: string, body?: unknown, url = cluster.apiUrl) =>
  requestJson(url + path, { apiKey: cluster.apiKey, body });
const countsOf = async (): Promise<number[]> => {
  const { body } = await api('/v1/stats');
  return (body as { nodes: { connections: number }[] }).nodes.map(({ connections }) => connections);
};
const asked = async (url: string): Promise<number> => {
  const { text } = await api('/metrics', undefined, url);
  return Number(/^weir_moves_asked_total\{reason="rebalance"\} (\d+)$/m.exec(text)?.[1]);
};

const subscriber = () => {
  const client = new WeirClient(cluster.wsUrl, { WebSocket });
  clients.push(client);
  const seen = { messages: [] as Message[], gaps: [] as Gap[], states: [] as string[], connections: 0 };
  client.on('state', ({ state }) => seen.states.push(state));
  client.on('connected', () => seen.connections++);
  const subscription = client.subscribe(channel);
  subscription.on('message', (message) => seen.messages.push(message));
  subscription.on('gap', (gap) => seen.gaps.push(gap));
  void client.connect();
  return { seen, subscription };
};

it('spreads 60 connections within a tenth of the mean over a third node, moving no more than it must', async () => {
  const subscribers: ReturnType<typeof subscriber>[] = [];
  for (let n = 0; n < CLIENTS; n++) {
    subscribers.push(subscriber());
    await waitFor(() => subscribers[n]!.subscription.state === 'subscribed', { description: 'the subscription' });
  }
  expect(await countsOf()).toEqual([CLIENTS / 2, CLIENTS / 2]);

  let published = 0;
  const stopping = new AbortController();
  const publishing = (async () => {
    while (!stopping.signal.aborted) {
      const { status } = await api('/v1/publish', { channel, data: ++published }, cluster.nodes[0]!.url);
      expect(status).toBe(200);
    }
  })();
  const joined = await cluster.addNode();
  let counts: number[] = [];
  const mean = CLIENTS / 3;
  await waitFor(
    async () => {
      counts = await countsOf();
      // Both connections of one on the move count: only a cluster at rest can be judged.
      const isAtRest = counts.reduce((sum, count) => sum + count, 0) === CLIENTS;
      return isAtRest && counts.length === 3 && counts.every((count) => Math.abs(count - mean) < 0.1 * mean);
    },
    { timeoutMs: 40_000, description: () => `an even spread, it is ${counts.join(', ')}` },
  );
  const moves = await Promise.all(cluster.nodes.map(({ url }) => asked(url)));
  stopping.abort();
  await publishing;

  // What the new node lacked, never more; while some are on their way, their two connections may make it a little less.
  const moved = moves.reduce((sum, count) => sum + count, 0);
  expect(moved).toBeGreaterThan(0.9 * mean);
  expect(moved).toBeLessThanOrEqual(mean);
  expect(await asked(joined.url)).toBe(0);
  for (const { seen } of subscribers) {
    await waitFor(() => seen.messages.length >= published, { description: 'every message' });
    expect(seen.messages.map(({ offset }) => offset)).toEqual(upTo(published));
    expect(seen.gaps).toEqual([]);
    expect(seen.states).toEqual(['connecting', 'connected']);
  }
  // The spread is even within a tenth before the last of those who were asked has moved.
  const movedClients = (): number => subscribers.filter(({ seen }) => seen.connections > 1).length;
  await waitFor(() => movedClients() === moved, {
    description: () => `${moved} clients to have moved, ${movedClients()} have`,
  });
}, 120_000);
