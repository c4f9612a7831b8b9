// A node that leaves under publishing: its clients go on at the others, by their own will or by a close, and miss nothing.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Gap, type Message, WeirClient } from '../../client/src/index.ts';
import {
  type Cluster,
  type NodeProcess,
  openWsClient,
  requestJson,
  startCluster,
  waitFor,
  type WsClient,
} from '../support/index.ts';

const MOVE_TIMEOUT_MS = 3000;

let cluster: Cluster;
let opened: WsClient[] = [];
let sdkClients: WeirClient[] = [];
beforeAll(async () => {
  cluster = await startCluster({
    nodes: 2,
    env: { WEIR_DRAIN_NOTICE_MS: '1000', WEIR_MOVE_TIMEOUT_MS: String(MOVE_TIMEOUT_MS), WEIR_REBALANCE: 'false' },
  });
});
afterEach(async () => {
  for (const client of sdkClients) client.disconnect();
  sdkClients = [];
  await Promise.all(opened.map((client) => client[Symbol.asyncDispose]()));
  opened = [];
});
afterAll(() => cluster.stop());

let channels = 0;
const fresh = (): string => `drain-${++channels}`;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const running = (): NodeProcess[] => cluster.nodes.filter((node) => node.exit() === undefined);
const api = (url: string, path: string, body?: unknown) => requestJson(url + path, { apiKey: cluster.apiKey, body });

/** Publishes without pause until told to stop; answers how many there were. */
const publishSteadily = (channel: string, door: NodeProcess) => {
  let published = 0;
  const stopping = new AbortController();
  const running = (async () => {
    while (!stopping.signal.aborted) {
      const { status, text } = await api(door.url, '/v1/publish', { channel, data: published + 1 });
      if (status !== 200) throw new Error(`publish answered ${status}: ${text}`);
      published++;
    }
  })();
  return {
    stop: async (): Promise<number> => {
      stopping.abort();
      await running;
      return published;
    },
  };
};

const sdkSubscriber = async (channel: string) => {
  const client = new WeirClient(cluster.wsUrl, { WebSocket });
  sdkClients.push(client);
  const messages: Message[] = [];
  const gaps: Gap[] = [];
  const states: string[] = [];
  const nodes: string[] = [];
  const sessions: string[] = [];
  client.on('connected', ({ node, session }) => {
    nodes.push(node);
    sessions.push(session);
  });
  const subscription = client.subscribe(channel);
  subscription.on('message', (message) => messages.push(message));
  subscription.on('gap', (gap) => gaps.push(gap));
  await client.connect();
  await waitFor(() => subscription.state === 'subscribed', { description: 'the SDK to be subscribed' });
  client.on('state', ({ state }) => states.push(state));
  return { client, messages, gaps, states, nodes, sessions };
};

describe('a node that drains under publishing', () => {
  it('hands SDK clients over with their sessions, nothing lost, repeated or noticed, and ends raw ones with 1012', async () => {
    const channel = fresh();
    const [leaving, staying] = running() as [NodeProcess, NodeProcess];
    const sdk = await Promise.all(upTo(20).map(() => sdkSubscriber(channel)));
    const raw = await Promise.all(
      upTo(6).map(() => openWsClient(`${leaving.url.replace('http', 'ws')}/v1/ws`, { timeoutMs: 20_000 })),
    );
    opened.push(...raw);
    await Promise.all(raw.map((client) => client.expect('subscribe', { channel })));
    const moved = sdk.filter(({ nodes }) => nodes[0] === leaving.name);
    expect(moved.length).toBeGreaterThan(0);
    const publishing = publishSteadily(channel, staying);

    const { status, body } = await api(staying.url, '/v1/drain', { node: leaving.name, timeoutMs: 20_000 });
    expect(status).toBe(202);
    expect(body).toEqual({
      node: leaving.name,
      connections: moved.length + raw.length,
      survivors: [staying.name],
      movesPerSecond: expect.any(Number) as number,
      firstMoveMs: 1000,
      lastMoveMs: 1000 + 500 + MOVE_TIMEOUT_MS,
      timeoutMs: 20_000,
    });
    const ready = await requestJson(`${leaving.url}/health/ready`);
    expect({ status: ready.status, body: ready.body }).toMatchObject({ status: 404, body: { status: 'draining' } });

    const pushes = await Promise.all(raw.map((client) => client.waitForPush('reconnect')));
    for (const { afterMs, withinMs, reason } of pushes) {
      expect(reason).toBe('drain');
      expect(afterMs).toBeGreaterThanOrEqual(1000);
      expect(withinMs).toBe((afterMs as number) + MOVE_TIMEOUT_MS);
    }
    expect(new Set(pushes.map(({ afterMs }) => afterMs)).size).toBeGreaterThan(1);
    const closes = await Promise.all(raw.map((client) => client.waitForClose()));
    expect(new Set(closes.map(({ code }) => code))).toEqual(new Set([1012]));
    expect(await leaving.exited).toEqual({ code: 0, signal: null });

    const total = await publishing.stop();
    for (const { messages, gaps } of sdk) {
      await waitFor(() => messages.length >= total, { description: 'every message' });
      expect(messages.map(({ offset }) => offset)).toEqual(upTo(total));
      expect(gaps).toEqual([]);
    }
    for (const { states, nodes, sessions } of moved) {
      // One connection took over from the other: the application saw nothing of it.
      expect(states).toEqual([]);
      expect(nodes.at(-1)).toBe(staying.name);
      expect(new Set(sessions).size).toBe(1);
    }
    // Who was cut goes on where it stopped.
    const last = raw[0]!.messages().at(-1)!;
    const again = await openWsClient(cluster.wsUrl);
    opened.push(again);
    const { epoch } = (await again.expect('history', { channel, limit: 1 })) as unknown as { epoch: string };
    await again.expect('subscribe', { channel, since: { epoch, offset: last['offset'] } });
    const rest = await again.waitForMessages(total - (last['offset'] as number));
    expect([...raw[0]!.messages(), ...rest].map(({ offset }) => offset)).toEqual(upTo(total));
  }, 60_000);

  it('alone closes everybody with 1012 and a time of their own to come back', async () => {
    const [alone] = running() as [NodeProcess];
    const clients = await Promise.all(upTo(40).map(() => openWsClient(cluster.wsUrl)));
    opened.push(...clients);
    alone.kill('SIGTERM');
    const closes = await Promise.all(clients.map((client) => client.waitForClose()));
    expect(new Set(closes.map(({ code }) => code))).toEqual(new Set([1012]));
    const delays = closes.map(({ reason }) => Number(/^retryAfterMs=(\d+)$/.exec(reason)?.[1]));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(1000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(1500);
    expect(new Set(delays).size).toBeGreaterThan(10);
    expect(clients.flatMap(({ pushes }) => pushes.filter(({ type }) => type === 'reconnect'))).toEqual([]);
    expect(await alone.exited).toEqual({ code: 0, signal: null });
  });
});
