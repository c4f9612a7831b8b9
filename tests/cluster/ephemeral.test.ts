// Ephemeral channels on two nodes over a real Redis: who listens gets it, who is slow is told how much is missing, nothing is kept.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Gap, type Message, WeirClient, webSocketTransport } from '../../client/src/index.ts';
import {
  type FaultProxy,
  type NodeProcess,
  openWsClient,
  type RedisProcess,
  requestJson,
  startFaultProxy,
  startNode,
  startRedis,
  type TemporaryDirectory,
  temporaryDirectory,
  waitFor,
  type WsClient,
} from '../support/index.ts';

const API_KEY = 'secret-of-the-ephemeral-test-0123456789';
const CONFIG = 'namespaces: {cursor: {class: ephemeral, publish: subscribers}}';

let directory: TemporaryDirectory;
let redis: RedisProcess;
let proxy: FaultProxy;
let here: NodeProcess;
let there: NodeProcess;
const opened: WsClient[] = [];
beforeAll(async () => {
  directory = await temporaryDirectory('ephemeral');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, CONFIG);
  redis = await startRedis();
  proxy = await startFaultProxy({ port: redis.port });
  const env = { WEIR_CONFIG: file };
  here = await startNode({ name: 'here', redisUrl: `redis://127.0.0.1:${proxy.port}`, apiKey: API_KEY, env });
  there = await startNode({ name: 'there', redisUrl: redis.url, apiKey: API_KEY, env });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((client) => client[Symbol.asyncDispose]()));
});
afterAll(async () => {
  await Promise.all([here.stop(), there.stop()]);
  await proxy.stop();
  await redis.stop();
  await directory.remove();
});

const connect = async (node: NodeProcess): Promise<WsClient> => {
  const client = await openWsClient(`${node.url.replace('http', 'ws')}/v1/ws`);
  opened.push(client);
  return client;
};
const subscribed = async (node: NodeProcess, channel: string): Promise<WsClient> => {
  const client = await connect(node);
  await client.expect('subscribe', { channel });
  return client;
};
const api = (node: NodeProcess, path: string, body?: unknown) =>
  requestJson(node.url + path, { apiKey: API_KEY, body });
const publish = (node: NodeProcess, channel: string, data: unknown) => api(node, '/v1/publish', { channel, data });
const metric = async (node: NodeProcess, sample: string): Promise<number> => {
  const { text } = await api(node, '/metrics');
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${sample} `))
      ?.slice(sample.length),
  );
};
let channels = 0;
const fresh = (): string => `cursor:${++channels}`;

describe('a message', () => {
  it('reaches subscribers of both nodes without offset and epoch, from clients and from the API', async () => {
    const channel = fresh();
    const [one, two] = [await connect(here), await subscribed(there, channel)];
    const reply = await one.expect('subscribe', { channel });
    expect(reply).toEqual({ type: 'subscribed', id: reply.id, channel, recovered: true, policy: 'all' });
    const published = await one.expect('publish', { channel, data: { x: 1 }, key: 'k' });
    expect(published).toEqual({ type: 'published', id: published.id, channel, duplicate: false });
    for (const client of [one, two]) {
      const [message] = await client.waitForMessages(1);
      expect(message).toMatchObject({ type: 'message', channel, data: { x: 1 }, key: 'k' });
      expect(message).not.toHaveProperty('offset');
      expect(message).not.toHaveProperty('epoch');
    }
    const answer = await api(here, '/v1/publish', { channel, data: 2, ack: 'fanout' });
    expect(answer).toMatchObject({ status: 200, body: { channel, duplicate: false, nodes: 2, subscribers: 2 } });
    for (const client of [one, two]) expect((await client.waitForMessages(2))[1]).toMatchObject({ data: 2 });
  });

  it('is not for those who come later, nor for those who left', async () => {
    const channel = fresh();
    const [stays, leaves] = [await subscribed(here, channel), await subscribed(there, channel)];
    await leaves.expect('unsubscribe', { channel });
    await publish(here, channel, 1);
    await stays.waitForMessages(1);
    const late = await subscribed(there, channel);
    await publish(here, channel, 2);
    expect((await late.waitForMessages(1)).map(({ data }) => data)).toEqual([2]);
    await leaves.expect('ping');
    expect(leaves.messages()).toEqual([]);
  });

  it('of a client needs a subscription where the namespace says subscribers', async () => {
    const channel = fresh();
    const stranger = await connect(here);
    expect(await stranger.command('publish', { channel, data: 1 })).toMatchObject({ type: 'error', code: 103 });
  });
});

it('refuses by typed errors what an ephemeral channel does not have', async () => {
  const channel = fresh();
  const client = await connect(here);
  const refused = (fields: object) => client.command('subscribe', { channel, ...fields });
  expect(await refused({ since: 'earliest' })).toMatchObject({ type: 'error', code: 108 });
  expect(await refused({ since: { epoch: 'e', offset: 1 } })).toMatchObject({ type: 'error', code: 108 });
  expect(await refused({ policy: 'latest' })).toMatchObject({ type: 'error', code: 103 });
  expect(await client.command('history', { channel })).toMatchObject({ type: 'error', code: 108 });
  expect(await api(here, `/v1/channels/${channel}/history`)).toMatchObject({ status: 404, body: { code: 108 } });
  await client.expect('subscribe', { channel });
  expect(await client.command('subscribe', { channel })).toMatchObject({ type: 'error', code: 105 });
  expect(await client.command('ack', { channel, offset: 1 })).toMatchObject({ type: 'error', code: 107 });
});

it('is seen in the channel lists and statistics of the whole cluster', async () => {
  const channel = fresh();
  await subscribed(here, channel);
  await subscribed(there, channel);
  expect((await api(here, `/v1/channels/${channel}`)).body).toEqual({ nodes: 2, subscribers: 2 });
  expect((await api(there, `/v1/channels?prefix=${channel}`)).body).toMatchObject({
    channels: [{ channel, subscribers: 2 }],
  });
  expect(await metric(here, 'weir_channels')).toBe(1);
  await Promise.all(opened.splice(0).map((client) => client[Symbol.asyncDispose]()));
  await waitFor(async () => (await metric(here, 'weir_channels')) === 0, { description: 'the channel to be gone' });
});

describe('a client that does not read', () => {
  it('misses messages, keeps its connection, and is told the exact number', async () => {
    const channel = fresh();
    const [slow, quick] = [await subscribed(here, channel), await subscribed(here, channel)];
    const droppedBefore = await metric(here, 'weir_messages_dropped_total{reason="behind"}');
    slow.pause();
    const data = 'x'.repeat(60_000);
    let sent = 0;
    const sendOne = async (): Promise<void> => {
      expect((await publish(there, channel, { n: ++sent, data })).status).toBe(200);
    };
    await waitFor(
      async () => {
        await sendOne();
        return (await metric(here, 'weir_ephemeral_behind')) === 1;
      },
      { description: 'the socket to take no more', timeoutMs: 30_000 },
    );
    for (let n = 0; n < 50; n++) await sendOne();
    await quick.waitForMessages(sent);
    slow.resume();
    const gap = await slow.waitForPush('gap');
    expect(gap).toEqual({ type: 'gap', channel, count: expect.any(Number) as number, reason: 'dropped' });
    expect(gap['count']).toBeGreaterThanOrEqual(50);
    await sendOne();
    await waitFor(() => slow.pushes.at(-1)?.type === 'message' && slow.pushes.at(-2)?.type === 'gap', {
      description: 'the message after the gap',
    });
    // Every message is there, or in the count that stands in its place.
    let next = 1;
    for (const push of slow.pushes) {
      if (push.type === 'gap') next += push['count'] as number;
      else expect((push['data'] as { n: number }).n).toBe(next++);
    }
    expect(next).toBe(sent + 1);
    expect(await metric(here, 'weir_messages_dropped_total{reason="behind"}')).toBe(
      droppedBefore + (gap['count'] as number),
    );
    expect(slow.closed()).toBeUndefined();
  });
});

it('tells of an interruption of the backplane: an unknown number is missing', async () => {
  const channel = fresh();
  const client = await subscribed(here, channel);
  proxy.reset();
  expect(await client.waitForPush('gap')).toEqual({ type: 'gap', channel, count: null, reason: 'dropped' });
  await waitFor(async () => (await publish(here, channel, 'after')).status === 200, { description: 'a publish' });
  expect((await client.waitForMessages(1))[0]).toMatchObject({ data: 'after' });
});

it('comes back with a session that named it', async () => {
  const channel = fresh();
  const first = await subscribed(here, channel);
  const { session } = first.connected!;
  first.terminate();
  // The last save is on its way when the socket is gone.
  const second = await waitFor(
    async () => {
      const client = await openWsClient(`${there.url.replace('http', 'ws')}/v1/ws`, { connect: { session } });
      opened.push(client);
      return client.connected?.['session'] === session ? client : undefined;
    },
    { description: 'the session to be continued' },
  );
  expect(await second.waitForPush('subscribed')).toEqual({
    type: 'subscribed',
    channel,
    recovered: true,
    policy: 'all',
  });
  await publish(here, channel, 1);
  expect(await second.waitForMessages(1)).toHaveLength(1);
});

it('serves the SDK: messages, the gap, and a new connection without a position', async () => {
  const channel = fresh();
  const open = webSocketTransport(WebSocket);
  await using toNode = await startFaultProxy({ port: here.port });
  const client = new WeirClient('ws://x', {
    transport: (_, handlers) => open(`ws://127.0.0.1:${toNode.port}/v1/ws`, handlers),
    reconnect: () => 20,
  });
  const messages: Message[] = [];
  const gaps: Gap[] = [];
  let subscriptions = 0;
  const subscription = client.subscribe(channel);
  subscription.on('message', (message) => messages.push(message));
  subscription.on('gap', (gap) => gaps.push(gap));
  subscription.on('subscribed', () => subscriptions++);
  void client.connect();
  await waitFor(() => subscriptions === 1, { description: 'the subscription' });
  await client.publish(channel, 'one');
  await waitFor(() => messages.length === 1, { description: 'the first message' });
  toNode.reset();
  await waitFor(() => subscriptions === 2, { description: 'the subscription on a new connection' });
  await client.publish(channel, 'two');
  await waitFor(() => messages.length === 2, { description: 'the second message' });
  expect(messages.map(({ data }) => data)).toEqual(['one', 'two']);
  expect(gaps).toEqual([]);
  expect(subscription.position).toBeUndefined();
  client.disconnect();
});
