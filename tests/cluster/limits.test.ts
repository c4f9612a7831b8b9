// Limits over three real nodes on one Redis: exact together, free again after a node was killed, local while Redis is away.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
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

const API_KEY = 'secret-of-the-limits-test-0123456789';
const MAX_CONNECTIONS = 10;
const MAX_PUBLISHES = 60;
const LEASE_MS = 1500;

let redis: RedisProcess;
let nodes: NodeProcess[] = [];
let opened: WsClient[] = [];
const start = (name: string): Promise<NodeProcess> =>
  startNode({
    name,
    redisUrl: redis.url,
    apiKey: API_KEY,
    env: {
      WEIR_MAX_IP_CONNECTIONS: String(MAX_CONNECTIONS),
      WEIR_MAX_IP_PUBLISH_RATE: `${MAX_PUBLISHES}/1h`,
      WEIR_LIMIT_LEASE_MS: String(LEASE_MS),
    },
  });
beforeAll(async () => {
  redis = await startRedis();
  nodes = await Promise.all(['node-1', 'node-2', 'node-3'].map(start));
});
afterEach(async () => {
  await Promise.all(opened.map((client) => client[Symbol.asyncDispose]()));
  opened = [];
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await redis.stop();
});

let addresses = 0;
const freshAddress = (): string => `198.51.100.${++addresses}`;
const open = async (node: NodeProcess, address: string): Promise<WsClient> => {
  const client = await openWsClient(`${node.url.replace('http', 'ws')}/v1/ws`, {
    connect: false,
    headers: { 'X-Real-IP': address },
    timeoutMs: 20_000,
  });
  opened.push(client);
  return client;
};
/** `connected`, or the code of the close. */
const enter = async (node: NodeProcess, address: string): Promise<'connected' | number> => {
  const client = await open(node, address);
  client.send({ type: 'connect', id: 1 });
  await waitFor(() => client.closed() !== undefined || client.received.length > 0, {
    timeoutMs: 20_000,
    description: 'the client to be let in or closed',
  });
  return client.closed()?.code ?? 'connected';
};
const enterMany = (node: NodeProcess, address: string, count: number): Promise<('connected' | number)[]> =>
  Promise.all(Array.from({ length: count }, () => enter(node, address)));
const countOf = <T>(values: readonly T[], wanted: T): number => values.filter((value) => value === wanted).length;
const metricsOf = async (node: NodeProcess): Promise<string> =>
  (await requestJson(`${node.url}/metrics`, { apiKey: API_KEY })).text;

describe('connections of one address to three nodes', () => {
  it('are exactly the limit when they come to all nodes at the same time; the others are closed with 3504', async () => {
    const address = freshAddress();
    const outcomes = (await Promise.all(nodes.map((node) => enterMany(node, address, 6)))).flat();
    expect(countOf(outcomes, 'connected')).toBe(MAX_CONNECTIONS);
    expect(countOf(outcomes, 3504)).toBe(18 - MAX_CONNECTIONS);
    expect(await enter(nodes[0]!, freshAddress())).toBe('connected');
  });

  it('that end on one node make room on another', async () => {
    const address = freshAddress();
    await enterMany(nodes[0]!, address, MAX_CONNECTIONS);
    await Promise.all(opened.slice(0, 4).map((client) => client.close()));
    const outcomes = await enterMany(nodes[1]!, address, 6);
    expect(countOf(outcomes, 'connected')).toBe(4);
  });
});

describe('publishes of one address through three nodes', () => {
  it('are exactly the limit, whoever publishes where and how fast', async () => {
    const address = freshAddress();
    const channel = 'limited';
    const publishers = await Promise.all([...nodes, ...nodes].map((node) => open(node, address)));
    for (const publisher of publishers) await publisher.expect('connect');
    const publishMany = (publisher: WsClient, count: number) =>
      publisher.commands(Array.from({ length: count }, (_, data) => ({ type: 'publish', channel, data })));
    // Each node alone could use all of it, so that none leaves a part of its share.
    const replies = [
      ...(await Promise.all(publishers.map((publisher) => publishMany(publisher, 7)))).flat(),
      ...(await Promise.all(publishers.map((publisher) => publishMany(publisher, 40)))).flat(),
    ];
    expect(replies.filter(({ type }) => type === 'published')).toHaveLength(MAX_PUBLISHES);
    const refused = replies.filter(({ type }) => type === 'error');
    expect(refused).toHaveLength(replies.length - MAX_PUBLISHES);
    for (const error of refused) expect(error).toMatchObject({ code: 111, retryAfterMs: expect.any(Number) as number });
    const { body } = await requestJson(`${nodes[0]!.url}/v1/channels/${channel}`, { apiKey: API_KEY });
    expect(body).toMatchObject({ offset: MAX_PUBLISHES });
  });
});

describe('a node that is killed', () => {
  it('gives what it held back when its lease is over, and not before somebody could be counted twice', async () => {
    const address = freshAddress();
    const doomed = await start('doomed');
    expect(countOf(await enterMany(doomed, address, 7), 'connected')).toBe(7);
    expect(countOf(await enterMany(nodes[1]!, address, 3), 'connected')).toBe(3);
    expect(await enter(nodes[1]!, address)).toBe(3504);
    doomed.kill('SIGKILL');
    await doomed.exited;
    let entered = 0;
    await waitFor(
      async () => {
        entered += countOf(await enterMany(nodes[2]!, address, 2), 'connected');
        return entered >= 7;
      },
      { timeoutMs: 20_000, description: () => `seven to be let in again, ${entered} were` },
    );
    expect(entered).toBe(7);
    expect(await enter(nodes[2]!, address)).toBe(3504);
  });
});

describe('while Redis is away', () => {
  it('each node holds the limit on its own, says so in its metrics, and counts together again afterwards', async () => {
    const address = freshAddress();
    expect(countOf(await enterMany(nodes[0]!, address, 6), 'connected')).toBe(6);
    const { port } = redis;
    await redis.stop();
    await waitFor(async () => (await requestJson(`${nodes[1]!.url}/health/ready`)).status === 503, {
      timeoutMs: 20_000,
      description: 'the node to notice',
    });
    const outcomes = await enterMany(nodes[1]!, address, MAX_CONNECTIONS + 2);
    expect(countOf(outcomes, 'connected')).toBe(MAX_CONNECTIONS);
    expect(await metricsOf(nodes[1]!)).toMatch(/weir_limits_alone_total\{limit="ip_connections"\} [1-9]/);
    redis = await startRedis({ port });
    await waitFor(async () => (await requestJson(`${nodes[2]!.url}/health/ready`)).status === 200, {
      timeoutMs: 20_000,
      description: 'the nodes to be back',
    });
    // What the nodes hold is told with their next renewal; from then on nobody else gets in.
    await waitFor(async () => (await enter(nodes[2]!, address)) === 3504, {
      timeoutMs: 20_000,
      description: 'the third node to know what the others hold',
    });
  });
});
