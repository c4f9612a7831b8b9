import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Gap, type Message, WeirClient } from '../../client/src/index.ts';
import {
  type Cluster,
  type JsonAnswer,
  type NodeProcess,
  openWsClient,
  requestJson,
  startCluster,
  startNode,
  UpgradeRefused,
  waitFor,
  type WireObject,
  type WsClient,
} from '../support/index.ts';

let cluster: Cluster;
let opened: WsClient[] = [];
let sdkClients: WeirClient[] = [];
beforeAll(async () => {
  cluster = await startCluster({ nodes: 3 });
});
afterEach(async () => {
  for (const client of sdkClients) client.disconnect();
  sdkClients = [];
  await Promise.all(opened.map((client) => client[Symbol.asyncDispose]()));
  opened = [];
  // The next test finds the cluster as empty as this one did.
  await waitFor(async () => (await stats()).connections === 0, { description: 'every connection to be gone' });
});
afterAll(() => cluster.stop());

let channels = 0;
const fresh = (): string => `cluster-${++channels}`;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const offsetsOf = (messages: readonly WireObject[]): unknown[] => messages.map(({ offset }) => offset);
const dataOf = (messages: readonly WireObject[]): unknown[] => messages.map(({ data }) => data);
const unique = <T>(values: Iterable<T>): T[] => [...new Set(values)];
const wsUrlOf = (node: NodeProcess): string => `${node.url.replace('http', 'ws')}/v1/ws`;

/** Through HAProxy unless a node is named. */
const connect = async (node?: NodeProcess): Promise<WsClient> => {
  const client = await openWsClient(node === undefined ? cluster.wsUrl : wsUrlOf(node), { timeoutMs: 10_000 });
  opened.push(client);
  return client;
};
const nodeOf = (client: WsClient): unknown => client.connected?.['node'];
const running = (): NodeProcess[] => cluster.nodes.filter((node) => node.exit() === undefined);
/** Every door a backend may publish by: each node itself, and HAProxy's internal frontend. */
const doors = (): string[] => [...running().map(({ url }) => url), cluster.apiUrl];
const ask = (url: string, path: string, body?: unknown): Promise<JsonAnswer> =>
  requestJson(url + path, { apiKey: cluster.apiKey, body });
const get = async <T>(url: string, path: string): Promise<T> => {
  const { status, text, body } = await ask(url, path);
  if (status !== 200) throw new Error(`${path} answered ${status}: ${text}`);
  return body as T;
};
interface Published {
  readonly offset: number;
  readonly epoch: string;
  readonly duplicate: boolean;
}
const publish = async (url: string, channel: string, data: unknown, more: object = {}): Promise<Published> => {
  const { status, text, body } = await ask(url, '/v1/publish', { channel, data, ...more });
  if (status !== 200) throw new Error(`publish answered ${status}: ${text}`);
  return body as Published;
};
interface ClusterStats {
  readonly connections: number;
  readonly subscriptions: number;
  readonly channels: number;
  readonly nodes: readonly { readonly node: string; readonly connections: number }[];
}
const stats = (url = cluster.apiUrl): Promise<ClusterStats> => get(url, '/v1/stats');

interface SdkSubscriber {
  readonly client: WeirClient;
  readonly messages: Message[];
  readonly gaps: Gap[];
  readonly reconnects: number[];
}
const sdkSubscriber = async (channel: string): Promise<SdkSubscriber> => {
  const client = new WeirClient(cluster.wsUrl, { WebSocket });
  sdkClients.push(client);
  const subscriber: SdkSubscriber = { client, messages: [], gaps: [], reconnects: [] };
  client.on('reconnecting', ({ attempt }) => subscriber.reconnects.push(attempt));
  const subscription = client.subscribe(channel);
  subscription.on('message', (message) => subscriber.messages.push(message));
  subscription.on('gap', (gap) => subscriber.gaps.push(gap));
  await client.connect();
  await waitFor(() => subscription.state === 'subscribed', { description: 'the SDK to be subscribed' });
  return subscriber;
};

describe('clients through HAProxy', () => {
  it('are spread over the nodes with the fewest connections', async () => {
    const clients: WsClient[] = [];
    while (clients.length < 12) clients.push(await connect());
    const counts = cluster.nodes.map(({ name }) => clients.filter((client) => nodeOf(client) === name).length);
    expect(counts).toEqual([4, 4, 4]);
    const { connections, nodes } = await stats();
    expect({ connections, perNode: nodes.map((node) => node.connections) }).toEqual({
      connections: 12,
      perNode: [4, 4, 4],
    });
  });

  it.each(['/metrics', '/v1/stats', '/v1/channels', '/v1/channels/c', '/v1/openapi.json', '/', '/console/'])(
    'do not reach %s',
    async (path) => {
      const { status, text } = await ask(cluster.publicUrl, path);
      expect(status).toBe(404);
      expect(text).not.toMatch(/weir_|node-\d/);
    },
  );

  it('get health from HAProxy itself, which names no node and no reason', async () => {
    const { status, body } = await requestJson(`${cluster.publicUrl}/health/ready`);
    expect({ status, body }).toEqual({ status: 200, body: { status: 'ready' } });
  });

  it('do not publish by HTTP, whatever key they found', async () => {
    for (const path of [
      '/v1/publish',
      '/v1/batch',
      '/v1/disconnect',
      '/V1/publish',
      '//v1/publish',
      '/v1/ws/../publish',
    ]) {
      const { status } = await ask(cluster.publicUrl, path, { channel: 'c', data: 1 });
      expect({ path, status }).toEqual({ path, status: 404 });
    }
  });

  it('get the node’s own refusals: help for a plain GET, 403 for a foreign page', async () => {
    expect((await requestJson(`${cluster.publicUrl}/v1/ws`)).status).toBe(426);
    const outcome = await openWsClient(cluster.wsUrl, { origin: 'https://evil.example' }).catch(
      (error: unknown) => error,
    );
    expect(outcome).toBeInstanceOf(UpgradeRefused);
    expect(outcome).toMatchObject({ status: 403 });
  });
});

describe('a publication', () => {
  it('by HTTP to any node reaches every subscriber on every node, in one order with the same offsets', async () => {
    const channel = fresh();
    const clients = await Promise.all(upTo(6).map(() => connect()));
    await Promise.all(clients.map((client) => client.expect('subscribe', { channel })));
    const sdk = await Promise.all(upTo(3).map(() => sdkSubscriber(channel)));
    expect(unique(clients.map(nodeOf)).length).toBe(3);
    const sent: string[] = [];
    for (const round of upTo(5)) {
      for (const [index, door] of doors().entries()) {
        const data = `round ${round} door ${index}`;
        expect(await publish(door, channel, data)).toMatchObject({ offset: sent.push(data) });
      }
    }
    for (const client of clients) {
      const messages = await client.waitForMessages(sent.length);
      expect(offsetsOf(messages)).toEqual(upTo(sent.length));
      expect(dataOf(messages)).toEqual(sent);
    }
    for (const { messages, gaps } of sdk) {
      await waitFor(() => messages.length >= sent.length, { description: 'the messages at the SDK' });
      expect(messages.map(({ offset, data }) => [offset, data])).toEqual(sent.map((data, index) => [index + 1, data]));
      expect(gaps).toEqual([]);
    }
  });

  it('of many concurrent publishers on all nodes has one place in one total order without hole', async () => {
    const channel = fresh();
    const clients = await Promise.all(cluster.nodes.flatMap((node) => [connect(node), connect(node)]));
    await Promise.all(clients.map((client) => client.expect('subscribe', { channel })));
    const each = 100;
    const publishers = doors().map(async (door, publisher) => {
      const positions: { offset: number; data: string }[] = [];
      for (const n of upTo(each / 5)) {
        const part = upTo(5).map(async (m) => {
          const data = `${publisher}.${n}.${m}`;
          return { ...(await publish(door, channel, data)), data };
        });
        positions.push(...(await Promise.all(part)));
      }
      return positions;
    });
    const positions = (await Promise.all(publishers)).flat().sort((a, b) => a.offset - b.offset);
    const total = each * 4;
    expect(positions.map(({ offset }) => offset)).toEqual(upTo(total));
    const order = positions.map(({ data }) => data);
    for (const client of clients) {
      const messages = await client.waitForMessages(total);
      expect(offsetsOf(messages)).toEqual(upTo(total));
      expect(dataOf(messages)).toEqual(order);
    }
    const { messages } = await get<{ messages: WireObject[] }>(
      cluster.apiUrl,
      `/v1/channels/${channel}/history?limit=1000`,
    );
    expect(dataOf(messages)).toEqual(order);
  });

  it('keeps the order of a batch while others publish to the same channel through other nodes', async () => {
    const channel = fresh();
    const client = await connect();
    await client.expect('subscribe', { channel });
    const batches = doors().map(async (door, publisher) => {
      const commands = upTo(100).map((n) => ({ publish: { channel, data: [publisher, n] } }));
      expect((await ask(door, '/v1/batch', { commands })).status).toBe(200);
    });
    await Promise.all(batches);
    const data = dataOf(await client.waitForMessages(400)) as [number, number][];
    for (const publisher of doors().keys()) {
      expect(data.filter(([from]) => from === publisher).map(([, n]) => n)).toEqual(upTo(100));
    }
  });

  it('with one messageId has one offset, whichever nodes it is sent to and however often', async () => {
    const channel = fresh();
    const clients = await Promise.all(cluster.nodes.map((node) => connect(node)));
    await Promise.all(clients.map((client) => client.expect('subscribe', { channel })));
    await publish(cluster.apiUrl, channel, 'before');
    const tries = [...doors(), ...doors()].map((door) => publish(door, channel, 'once', { messageId: 'the-one' }));
    const byClient = clients.map((client) => client.expect('publish', { channel, data: 'once', messageId: 'the-one' }));
    const results = (await Promise.all([...tries, ...byClient])) as unknown as Published[];
    expect(unique(results.map(({ offset }) => offset))).toEqual([2]);
    expect(results.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    await publish(cluster.apiUrl, channel, 'after');
    for (const client of clients) {
      await client.waitForMessages(3);
      expect(dataOf(client.messages())).toEqual(['before', 'once', 'after']);
    }
  });

  it('by a client crosses nodes, stamped with who sent it', async () => {
    const channel = fresh();
    const [first, second] = cluster.nodes;
    const [publisher, subscriber] = await Promise.all([connect(first), connect(second)]);
    await subscriber.expect('subscribe', { channel });
    for (const data of upTo(50)) publisher.send({ type: 'publish', channel, data });
    const messages = await subscriber.waitForMessages(50);
    expect(dataOf(messages)).toEqual(upTo(50));
    const stamps = unique(messages.map(({ publisher: stamp }) => JSON.stringify(stamp)));
    expect(stamps).toEqual([JSON.stringify({ connection: publisher.connected?.['connection'] })]);
  });

  it('acknowledged after its fan-out counts the nodes and subscribers it reached', async () => {
    const channel = fresh();
    const clients = await Promise.all(cluster.nodes.slice(0, 2).flatMap((node) => [connect(node), connect(node)]));
    await Promise.all(clients.map((client) => client.expect('subscribe', { channel })));
    for (const door of doors()) {
      expect(await publish(door, channel, 1, { ack: 'fanout' })).toMatchObject({ nodes: 2, subscribers: 4 });
    }
  });
});

it('every node tells the same of the whole cluster: stats, channel and channels', async () => {
  const [everywhere, single] = [fresh(), fresh()];
  const clients = await Promise.all(cluster.nodes.map((node) => connect(node)));
  await Promise.all(clients.map((client) => client.expect('subscribe', { channel: everywhere })));
  await clients[1]!.expect('subscribe', { channel: single });
  await publish(cluster.apiUrl, everywhere, 1);
  for (const door of doors()) {
    const figures = await stats(door);
    expect(figures).toMatchObject({ connections: 3, subscriptions: 4, channels: 4 });
    expect(figures.nodes.map(({ node }) => node).sort()).toEqual(['node-1', 'node-2', 'node-3']);
    expect(await get(door, `/v1/channels/${everywhere}`)).toMatchObject({ offset: 1, subscribers: 3, nodes: 3 });
    expect(await get(door, `/v1/channels/${single}`)).toMatchObject({ offset: 0, subscribers: 1, nodes: 1 });
    expect(await get(door, '/v1/channels?prefix=cluster-')).toEqual({
      channels: [
        { channel: everywhere, subscribers: 3 },
        { channel: single, subscribers: 1 },
      ].sort((a, b) => (a.channel < b.channel ? -1 : 1)),
      cursor: null,
    });
    const first = await get<{ cursor: string }>(door, '/v1/channels?prefix=cluster-&limit=1');
    const rest = await get(door, `/v1/channels?prefix=cluster-&limit=1&cursor=${encodeURIComponent(first.cursor)}`);
    expect(rest).toMatchObject({ channels: [{}], cursor: null });
  }
});

describe('a node that dies', () => {
  let killed: NodeProcess;

  it('by kill -9 loses none of its clients: they go on at other nodes with what they missed, without a gap', async () => {
    const channel = fresh();
    const subscribers = await Promise.all(upTo(6).map(() => sdkSubscriber(channel)));
    const before = await stats();
    killed = cluster.nodes.find(({ name }) =>
      before.nodes.some(({ node, connections }) => node === name && connections > 0),
    )!;
    const onKilled = before.nodes.find(({ node }) => node === killed.name)!.connections;
    const doorsLeft = doors().filter((door) => door !== killed.url && door !== cluster.apiUrl);
    let published = 0;
    for (const door of doorsLeft) await publish(door, channel, ++published);
    killed.kill('SIGKILL');
    await killed.exited;
    await waitFor(
      async () => {
        // Publishers on the other nodes notice nothing.
        for (const door of doorsLeft) await publish(door, channel, ++published);
        return (
          subscribers.every(({ client, reconnects }) => client.isConnected || reconnects.length === 0) &&
          subscribers.filter(({ reconnects }) => reconnects.length > 0).length === onKilled &&
          (await get<{ subscribers: number }>(doorsLeft[0]!, `/v1/channels/${channel}`)).subscribers === 6
        );
      },
      { timeoutMs: 15_000, description: 'every client to be subscribed again' },
    );
    for (const door of doorsLeft) await publish(door, channel, ++published);
    for (const { messages, gaps } of subscribers) {
      await waitFor(() => messages.at(-1)?.offset === published, { description: 'the last message' });
      expect(messages.map(({ offset }) => offset)).toEqual(upTo(published));
      expect(gaps).toEqual([]);
    }
  });

  it('leaves the statistics when its lease ends, and answers stay complete', async () => {
    const names = running().map(({ name }) => name);
    await waitFor(
      async () => {
        const figures = await stats();
        return (
          figures.nodes
            .map(({ node }) => node)
            .sort()
            .join() === names.join() && !('missing' in figures)
        );
      },
      { timeoutMs: 12_000, description: 'the dead node to be forgotten' },
    );
  });

  it('and is started again at its old address takes clients and publications as before', async () => {
    const { name, port } = killed;
    await using again = await startNode({ name, port, redisUrl: cluster.redis.url, apiKey: cluster.apiKey });
    const channel = fresh();
    // HAProxy finds it by itself: leastconn sends the next client there as soon as its check passes.
    const client = await waitFor(
      async () => {
        const candidate = await connect();
        return nodeOf(candidate) === name ? candidate : undefined;
      },
      { timeoutMs: 10_000, description: 'a client on the node that came back' },
    );
    await client.expect('subscribe', { channel });
    for (const door of [...doors(), again.url]) await publish(door, channel, 1);
    expect(offsetsOf(await client.waitForMessages(doors().length + 1))).toEqual(upTo(doors().length + 1));
    expect((await stats()).nodes.map(({ node }) => node).sort()).toEqual(['node-1', 'node-2', 'node-3']);
    await Promise.all(opened.map((one) => one[Symbol.asyncDispose]()));
  });
});

it('a node that is stopped for good hands its clients over and leaves the statistics at once', async () => {
  const [node] = running();
  const channel = fresh();
  const subscribers = await Promise.all(upTo(4).map(() => sdkSubscriber(channel)));
  await node!.stop();
  await waitFor(
    async () => (await get<{ subscribers: number }>(running()[0]!.url, `/v1/channels/${channel}`)).subscribers === 4,
    { timeoutMs: 10_000, description: 'its clients on other nodes' },
  );
  expect((await stats(running()[0]!.url)).nodes.map((one) => one.node)).not.toContain(node!.name);
  await publish(running()[0]!.url, channel, 'still here');
  for (const { messages } of subscribers) {
    await waitFor(() => messages.at(-1)?.data === 'still here', { description: 'the message after the hand-over' });
  }
});
