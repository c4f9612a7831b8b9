// A node whose subscriber link answers pings and delivers no message, and one whose link is silent.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type NodeProcess,
  openWsClient,
  type RedisProcess,
  requestJson,
  startNode,
  startRedis,
  waitFor,
  type WsClient,
} from '../support/index.ts';
import { redisCli, startRedisCluster, type RedisDeployment } from '../../loadbalancer/cluster/redis-topologies.ts';
import { type MutingProxy, startMutingProxy } from './muting-proxy.ts';

const apiKey = 'secret-of-the-deaf-test-0123456789abcdef';
const channel = 'news';
const connectTo = ({ url }: NodeProcess): Promise<WsClient> => openWsClient(`${url.replace('http', 'ws')}/v1/ws`);
const readinessOf = async ({ url }: NodeProcess) => requestJson(`${url}/health/ready`);
const becomes = (node: NodeProcess, status: number): Promise<unknown> =>
  waitFor(async () => (await readinessOf(node)).status === status, { description: `${node.name} to answer ${status}` });

describe('a node that does not hear', () => {
  let redis: RedisProcess;
  let proxy: MutingProxy;
  const nodes: NodeProcess[] = [];
  const lines: string[] = [];
  const startDeafOne = async (env: Readonly<Record<string, string>> = {}): Promise<NodeProcess> => {
    const redisUrl = `redis://127.0.0.1:${proxy.port}`;
    const node = await startNode({ name: 'one', apiKey, redisUrl, env, onLine: (line) => lines.push(line) });
    nodes.push(node);
    return node;
  };
  const startOther = async (): Promise<NodeProcess> => {
    const node = await startNode({ name: 'two', apiKey, redisUrl: `redis://127.0.0.1:${redis.port}` });
    nodes.push(node);
    return node;
  };
  const publish = async (node: NodeProcess, data: number): Promise<void> => {
    const { status } = await requestJson(`${node.url}/v1/publish`, { apiKey, body: { channel, data } });
    expect(status).toBe(200);
  };
  const metricsOf = async ({ url }: NodeProcess) => (await requestJson(`${url}/metrics`, { apiKey })).text;

  beforeEach(async () => {
    lines.length = 0;
    redis = await startRedis();
    proxy = await startMutingProxy(redis.port);
  });
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.stop()));
    await proxy[Symbol.asyncDispose]();
    await redis.stop();
  });

  it('says so within 3 s, moves its clients, and when it hears again nothing is missing', async () => {
    const one = await startDeafOne({ WEIR_DEAF_MOVE_AFTER_MS: '1000' });
    const two = await startOther();
    const client = await connectTo(one);
    await client.expect('subscribe', { channel });
    await publish(two, 1);
    await client.waitForMessages(1);

    proxy.mute();
    const mutedAtMs = performance.now();
    await client.waitForPush('status', ({ broker }) => broker === 'degraded');
    const answer = await readinessOf(one);
    expect(performance.now() - mutedAtMs).toBeLessThan(3000);
    expect(answer).toMatchObject({ status: 503, body: { status: 'not_ready', reasons: [expect.any(String)] } });
    expect(await metricsOf(one)).toMatch(/^weir_node_deaf 1$[^]*^weir_node_deaf_total 1$/m);
    // Publishing through the deaf node works all the time, and the link was made anew.
    for (let data = 2; data <= 50; data++) await publish(data % 2 === 0 ? one : two, data);
    await waitFor(() => lines.some((line) => line.includes('"broker_healed"')), {
      description: 'the link to be renewed',
    });
    expect((await readinessOf(one)).body).toMatchObject({ reasons: [expect.stringMatching(/^deaf: /)] });
    expect((await readinessOf(two)).status).toBe(200);

    const push = await client.waitForPush('reconnect');
    expect(push).toEqual({
      type: 'reconnect',
      afterMs: expect.any(Number) as number,
      withinMs: expect.any(Number) as number,
      reason: 'deaf',
    });
    for (let data = 51; data <= 60; data++) await publish(two, data);

    proxy.heal();
    await client.waitForPush('status', ({ broker }) => broker === 'ready');
    // No message was published since: the comparison alone brings the last ones.
    await becomes(one, 200);
    await client.waitForMessages(60);
    expect(client.messages().map(({ data }) => data)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    expect(client.gaps()).toEqual([]);
    expect(await metricsOf(one)).toMatch(/^weir_node_deaf 0$/m);
    expect(client.pushes.filter(({ type }) => type === 'reconnect')).toHaveLength(1);
    expect(client.closed()).toBeUndefined();
  });

  it('says so within 3 s also when its subscriber link is silent, and loses nothing', async () => {
    const one = await startDeafOne({ WEIR_DEAF_MOVE_AFTER_MS: '1000' });
    const two = await startOther();
    const client = await connectTo(one);
    await client.expect('subscribe', { channel });
    proxy.silence();
    const silentAtMs = performance.now();
    for (let data = 1; data <= 20; data++) await publish(data % 2 === 0 ? one : two, data);
    await becomes(one, 503);
    expect(performance.now() - silentAtMs).toBeLessThan(3000);
    expect(await client.waitForPush('status')).toMatchObject({ broker: 'degraded' });
    expect(await client.waitForPush('reconnect')).toMatchObject({ reason: 'deaf' });
    expect(client.messages()).toEqual([]);
    proxy.heal();
    await client.waitForPush('status', ({ broker }) => broker === 'ready');
    await client.waitForMessages(20);
    expect(client.messages().map(({ data }) => data)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    expect(client.gaps()).toEqual([]);
  });

  it('keeps its clients while no other node is ready', async () => {
    const one = await startDeafOne({ WEIR_DEAF_MOVE_AFTER_MS: '0' });
    const client = await connectTo(one);
    proxy.mute();
    await becomes(one, 503);
    // Two looks at the other nodes, one a second.
    const muted = proxy.muted();
    await waitFor(() => proxy.muted() >= muted + 3, { description: 'three more canaries' });
    expect(client.pushes.map(({ type }) => type)).toEqual(['status']);
    proxy.heal();
    await client.waitForPush('status', ({ broker }) => broker === 'ready');
  });

  it('shows its canary to nobody', async () => {
    const one = await startDeafOne();
    const client = await connectTo(one);
    expect(await client.command('subscribe', { channel: '$canary one' })).toMatchObject({ type: 'error' });
    await waitFor(async () => (await metricsOf(one)).includes('weir_node_deaf 0'), { description: 'metrics' });
    expect(await metricsOf(one)).toMatch(/^weir_publications_received_total 0$/m);
    expect((await requestJson(`${one.url}/v1/channels`, { apiKey })).body).toMatchObject({ channels: [] });
    expect((await requestJson(`${one.url}/v1/stats`, { apiKey })).body).toMatchObject({
      channels: 0,
      subscriptions: 0,
    });
  });
});

describe('a node that does not hear one master of a cluster', () => {
  let deployment: RedisDeployment;
  let proxy: MutingProxy;
  let node: NodeProcess;

  /** Clients of the cluster are told to reach this master through the proxy; the members reach it as before. */
  const announceThrough = async (port: number): Promise<void> => {
    const muted = deployment.servers[1]?.port ?? 0;
    await redisCli(muted, 'CONFIG', 'SET', 'cluster-announce-port', String(port));
    await waitFor(
      async () => {
        const views = await Promise.all(deployment.servers.map((server) => redisCli(server.port, 'CLUSTER', 'NODES')));
        return views.every((view) => view.includes(`127.0.0.1:${port}@`));
      },
      { description: 'every member to name the proxy' },
    );
  };

  beforeEach(async () => {
    deployment = await startRedisCluster();
    proxy = await startMutingProxy(deployment.servers[1]?.port ?? 0);
    await announceThrough(proxy.port);
    // Its own port is no seed: it would be another server than the one announced.
    const redisUrl = `redis+cluster://127.0.0.1:${deployment.servers[0]?.port ?? 0}`;
    node = await startNode({ name: 'one', apiKey, redisUrl });
  });
  afterEach(async () => {
    await node.stop();
    await proxy[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it('says so within 3 s, and when it hears again nothing is missing on any master', async () => {
    const client = await connectTo(node);
    const channels = Array.from({ length: 12 }, (_, index) => `news-${index}`);
    for (const name of channels) await client.expect('subscribe', { channel: name });
    const publishAll = async (data: number): Promise<void> => {
      for (const name of channels) {
        const { status } = await requestJson(`${node.url}/v1/publish`, { apiKey, body: { channel: name, data } });
        expect(status).toBe(200);
      }
    };
    await publishAll(1);
    await client.waitForMessages(channels.length);
    proxy.mute();
    const mutedAtMs = performance.now();
    await client.waitForPush('status', ({ broker }) => broker === 'degraded');
    const { status, body } = await readinessOf(node);
    expect(performance.now() - mutedAtMs).toBeLessThan(3000);
    expect(status).toBe(503);
    expect(body).toMatchObject({ reasons: [expect.stringMatching(/deaf: .* from a server$/)] });
    await publishAll(2);
    proxy.heal();
    await becomes(node, 200);
    await client.waitForMessages(2 * channels.length);
    for (const name of channels) {
      const data = client.messages().flatMap((push) => (push['channel'] === name ? [push['data']] : []));
      expect(data, name).toEqual([1, 2]);
    }
    expect(client.gaps()).toEqual([]);
  });
});
