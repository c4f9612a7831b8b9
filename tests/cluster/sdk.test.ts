// The SDK against real nodes on a real Redis, which are killed: nothing twice, nothing missing, each publish in one place.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Gap, type Message, type PublishResult, WeirClient, webSocketTransport } from '../../client/src/index.ts';
import {
  type FaultProxy,
  type NodeProcess,
  openRawSocket,
  type RedisProcess,
  requestJson,
  startFaultProxy,
  startNode,
  startRedis,
  waitFor,
} from '../support/index.ts';

const API_KEY = 'sdk-test-key';
/** Publications of one channel a node keeps (default of the namespace). */
const HISTORY = 1000;

let redis: RedisProcess;
let steady: NodeProcess;
beforeAll(async () => {
  redis = await startRedis();
  steady = await start('steady');
});
const disposables: AsyncDisposable[] = [];
const clients: WeirClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  await Promise.all(disposables.splice(0).map((one) => one[Symbol.asyncDispose]()));
});
afterAll(async () => {
  await steady.stop();
  await redis.stop();
});

const start = (name: string): Promise<NodeProcess> => startNode({ name, redisUrl: redis.url, apiKey: API_KEY });
const startVictim = async (): Promise<NodeProcess> => {
  const node = await start('victim');
  disposables.push(node);
  return node;
};
const proxyTo = async (node: NodeProcess): Promise<FaultProxy> => {
  const proxy = await startFaultProxy({ host: node.host, port: node.port });
  disposables.push(proxy);
  return proxy;
};
const upTo = (count: number, from = 1): number[] => Array.from({ length: count }, (_, index) => from + index);
let channels = 0;
const fresh = (): string => `sdk-${++channels}`;

/** A client whose next connection goes to whatever `target` says then, as behind a balancer that knows who is dead. */
const clientOf = (target: () => { host: string; port: number }): WeirClient => {
  const open = webSocketTransport(WebSocket);
  const client = new WeirClient('ws://balanced', {
    transport: (_, handlers) => open(`ws://${target().host}:${target().port}/v1/ws`, handlers),
    reconnect: () => 50,
  });
  clients.push(client);
  return client;
};

const publish = async (channel: string, data: readonly unknown[]): Promise<void> => {
  for (let done = 0; done < data.length; done += 500) {
    const commands = data.slice(done, done + 500).map((one) => ({ publish: { channel, data: one } }));
    const { status, text } = await requestJson(`${steady.url}/v1/batch`, { apiKey: API_KEY, body: { commands } });
    if (status !== 200 || text.includes('"error"')) throw new Error(`publishing failed: ${text.slice(0, 300)}`);
  }
};
const flushRedis = async (): Promise<void> => {
  await using socket = await openRawSocket(redis.port);
  socket.write('FLUSHALL\r\n');
  await socket.waitForText(/^\+OK/);
};
const historyOf = async (channel: string): Promise<Message[]> => {
  const { body } = await requestJson(`${steady.url}/v1/channels/${channel}/history?limit=1000`, { apiKey: API_KEY });
  return (body as { messages: Message[] }).messages;
};

/** Subscribed through `target`, recording everything. */
const subscriberOf = async (channel: string, target: () => { host: string; port: number }) => {
  const client = clientOf(target);
  const subscription = client.subscribe(channel);
  const messages: Message[] = [];
  const gaps: Gap[] = [];
  const recovered: boolean[] = [];
  subscription.on('message', (message) => messages.push(message));
  subscription.on('gap', (gap) => gaps.push(gap));
  subscription.on('subscribed', (event) => recovered.push(event.recovered));
  await client.connect();
  await waitFor(() => subscription.state === 'subscribed', { description: 'the subscription' });
  return { client, subscription, messages, gaps, recovered };
};
const dataOf = (messages: readonly Message[]): unknown[] => messages.map(({ data }) => data);

it('resumes on another node what its own missed by kill -9, 500 messages, without a gap or a duplicate', async () => {
  const channel = fresh();
  const victim = await startVictim();
  let target: NodeProcess = victim;
  const { messages, gaps, recovered } = await subscriberOf(channel, () => target);
  await publish(channel, upTo(10));
  await waitFor(() => messages.length === 10, { description: 'messages of the first node' });
  // Nobody there to connect to until everything is published.
  victim.kill('SIGKILL');
  await victim.exited;
  await publish(channel, upTo(500, 11));
  target = steady;
  await waitFor(() => messages.length >= 510, { description: 'what was missed' });
  await publish(channel, [511]);
  await waitFor(() => messages.length >= 511, { description: 'live messages behind it' });
  expect(dataOf(messages)).toEqual(upTo(511));
  expect(messages.map(({ offset }) => offset)).toEqual(upTo(511));
  expect(gaps).toEqual([]);
  expect(recovered).toEqual([true, true]);
});

it('loses and repeats nothing when its connection is cut in the middle of a stream, again and again', async () => {
  const channel = fresh();
  const proxy = await proxyTo(steady);
  const { messages, gaps } = await subscriberOf(channel, () => proxy);
  const total = 2000;
  const publishing = (async () => {
    for (let n = 1; n <= total; n += 20) await publish(channel, upTo(20, n));
  })();
  for (const seen of [200, 500, 900, 1300]) {
    await waitFor(() => messages.length >= seen, { description: `${seen} messages` });
    proxy.reset();
  }
  await publishing;
  await waitFor(() => messages.length >= total, { description: 'the whole stream' });
  expect(dataOf(messages)).toEqual(upTo(total));
  expect(gaps).toEqual([]);
});

it('reports exactly what history no longer has, and goes on with the rest', async () => {
  const channel = fresh();
  const victim = await startVictim();
  let target: NodeProcess = victim;
  const { messages, gaps, recovered } = await subscriberOf(channel, () => target);
  await publish(channel, [1]);
  await waitFor(() => messages.length === 1, { description: 'the first message' });
  victim.kill('SIGKILL');
  await victim.exited;
  const missed = HISTORY + 500;
  await publish(channel, upTo(missed, 2));
  target = steady;
  await waitFor(() => messages.at(-1)?.data === missed + 1, { description: 'the newest message' });
  expect(recovered).toEqual([true, false]);
  const [gap] = gaps;
  expect(gaps).toEqual([{ type: 'gap', channel, from: 2, to: gap!.to, count: gap!.to! - 1, reason: 'expired' }]);
  expect(messages.map(({ offset }) => offset)).toEqual([1, ...upTo(missed + 1 - gap!.to!, gap!.to! + 1)]);
  // The broker trims in blocks, never more than it may.
  expect(messages.length - 1).toBeGreaterThanOrEqual(HISTORY);
});

it('tells a new numbering by one gap and numbers on from there', async () => {
  const channel = fresh();
  const victim = await startVictim();
  let target: NodeProcess = victim;
  const { messages, gaps, recovered, subscription } = await subscriberOf(channel, () => target);
  await publish(channel, upTo(3));
  await waitFor(() => messages.length === 3, { description: 'messages of the old numbering' });
  const before = subscription.position;
  victim.kill('SIGKILL');
  await victim.exited;
  await flushRedis();
  await publish(channel, ['new 1', 'new 2']);
  target = steady;
  await waitFor(() => messages.at(-1)?.data === 'new 2', { description: 'the new numbering' });
  expect(recovered).toEqual([true, false]);
  expect(gaps).toHaveLength(1);
  expect(gaps[0]).toMatchObject({
    reason: 'epoch',
    from: null,
    to: null,
    offset: 0,
    epoch: subscription.position!.epoch,
  });
  expect(subscription.position!.epoch).not.toBe(before!.epoch);
  expect(messages.slice(3).map(({ offset, data }) => [offset, data])).toEqual([
    [1, 'new 1'],
    [2, 'new 2'],
  ]);
});

it('goes on live, with a receipt, after a position nobody ever had', async () => {
  const channel = fresh();
  await publish(channel, upTo(3));
  const client = clientOf(() => steady);
  await client.connect();
  const { epoch } = await client.history(channel);
  const subscription = client.subscribe(channel, { since: { epoch, offset: 1_000_000 } });
  const gaps: Gap[] = [];
  const messages: Message[] = [];
  subscription.on('gap', (gap) => gaps.push(gap));
  subscription.on('message', (message) => messages.push(message));
  await waitFor(() => subscription.state === 'subscribed', { description: 'the live subscription' });
  await publish(channel, [4]);
  await waitFor(() => messages.length > 0, { description: 'the next message' });
  expect(dataOf(messages)).toEqual([4]);
  expect(gaps).toEqual([
    { type: 'gap', channel, from: null, to: null, count: null, reason: 'epoch', epoch, offset: 3 },
  ]);
  expect(subscription.position).toEqual({ epoch, offset: 4 });
});

it.each(upTo(3))(
  'puts each publish in one place when the node dies by kill -9 between write and answer (round %i)',
  async () => {
    const channel = fresh();
    const victim = await startVictim();
    const proxy = await proxyTo(victim);
    let target: { host: string; port: number } = proxy;
    const { messages } = await subscriberOf(channel, () => steady);
    const client = clientOf(() => target);
    await client.connect();
    // Answers are under way this long: what others have received by then is written and not answered.
    proxy.delay(200);
    const results: Promise<PublishResult>[] = upTo(300).map((data) => client.publish(channel, data));
    await waitFor(() => messages.length > 0, { description: 'the first written' });
    target = steady;
    victim.kill('SIGKILL');
    proxy.reset();
    const later = upTo(50, 301).map((data) => client.publish(channel, data));
    const places = await Promise.all([...results, ...later]);
    expect(places.some(({ duplicate }) => duplicate)).toBe(true);
    const log = await historyOf(channel);
    expect(dataOf(log)).toEqual(upTo(350));
    expect(places.map(({ offset }) => offset)).toEqual(upTo(350));
    await waitFor(() => messages.length >= 350, { description: 'every message at the subscriber' });
    expect(dataOf(messages)).toEqual(upTo(350));
  },
);
