// Nodes, Redis, HAProxy and the balancer agent together: who gets connections while nodes come, go, die and lose Redis.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLIENT_BACKEND } from '../../loadbalancer/haproxy-options.ts';
import type { Slot } from '../../loadbalancer/runtime-api.ts';
import {
  type Cluster,
  type NodeProcess,
  openWsClient,
  requestJson,
  startCluster,
  startRedis,
  waitFor,
  type WsClient,
} from '../support/index.ts';

let cluster: Cluster;
const opened: WsClient[] = [];
const endings: (() => Promise<unknown>)[] = [];
const ABSENCE_MS = 1_000;

const start = async (nodes: number, env: Record<string, string> = {}): Promise<Cluster> => {
  cluster = await startCluster({ nodes, env, agentEnv: { WEIR_AGENT_ABSENCE_MS: String(ABSENCE_MS) } });
  return cluster;
};
beforeEach(() => {
  opened.length = 0;
});
afterEach(async () => {
  await Promise.all(opened.map((client) => client[Symbol.asyncDispose]()));
  await cluster.stop();
  for (const end of endings.splice(0)) await end();
});

const connect = async (count: number): Promise<WsClient[]> => {
  const clients: WsClient[] = [];
  while (clients.length < count) clients.push(await openWsClient(cluster.wsUrl, { timeoutMs: 10_000 }));
  opened.push(...clients);
  return clients;
};
const countOn = (node: NodeProcess, clients: readonly WsClient[]): number =>
  clients.filter((client) => client.connected?.['node'] === node.name).length;
const isOpen = async (client: WsClient): Promise<boolean> => (await client.expect('ping', {}))['type'] === 'pong';
const slotOf = async (node: NodeProcess): Promise<Slot | undefined> =>
  (await cluster.haproxy.runtime.slots(CLIENT_BACKEND)).find(
    (slot) => slot.port === node.port && slot.admin !== 'maint',
  );
const agentReasons = async (): Promise<unknown> =>
  ((await requestJson(`${cluster.agent.url}/health`)).body as { reasons: unknown }).reasons;

describe('the balancer agent of a cluster', () => {
  it('sends clients to a node that joins, and away from one that leaves or dies, without a reload', async () => {
    const { haproxy, nodes } = await start(2);
    const before = await connect(4);
    expect(nodes.map((node) => countOn(node, before))).toEqual([2, 2]);

    const third = await cluster.addNode();
    const after = await connect(2);
    expect(countOn(third, after)).toBe(2);
    for (const client of before) expect(await isOpen(client)).toBe(true);

    const [leaving, dying] = nodes as [NodeProcess, NodeProcess];
    await leaving.stop();
    await waitFor(async () => (await slotOf(leaving)) === undefined, { description: 'the slot of the node that left' });
    dying.kill('SIGKILL');
    // Lease and absence in the registry.
    await waitFor(async () => (await slotOf(dying)) === undefined, {
      timeoutMs: 15_000,
      description: 'the slot of the node that died',
    });
    expect(countOn(third, await connect(3))).toBe(3);
    expect(await haproxy.runtime.command('show info')).toContain(`\nPid: ${haproxy.pid}\n`);
    expect(await agentReasons()).toEqual([]);
  });

  it.each([
    ['health check', {}],
    ['agent-check', { WEIR_AGENT_CHECK_PORT: '0' }],
  ])('keeps every node and every client through five seconds without Redis (%s)', async (_, env) => {
    const { redis, nodes } = await start(2, env);
    const clientsBefore = await connect(4);
    redis.kill('SIGKILL');
    await redis.exited;
    const goneAt = performance.now();
    await waitFor(async () => JSON.stringify(await agentReasons()).includes('cannot be read'), {
      description: 'the agent to see the outage',
    });
    await waitFor(
      async () => {
        expect((await Promise.all(nodes.map(slotOf))).filter((slot) => slot !== undefined)).toHaveLength(2);
        return performance.now() - goneAt > 5_000;
      },
      { description: 'five seconds with both nodes in their slots' },
    );
    for (const client of clientsBefore) expect(await isOpen(client)).toBe(true);
    const again = await startRedis({ port: redis.port });
    endings.push(again.stop);
    await cluster.haproxy.nodesUp(nodes);
    const clients = await connect(4);
    expect(nodes.map((node) => countOn(node, clients)).every((count) => count > 0)).toBe(true);
    await waitFor(async () => JSON.stringify(await agentReasons()) === '[]', {
      description: 'the agent to follow again',
    });
  });

  it('leaves weight and state to the agent-check of nodes that have one', async () => {
    const { nodes, haproxy } = await start(2, { WEIR_AGENT_CHECK_PORT: '0' });
    const [leaving, staying] = nodes as [NodeProcess, NodeProcess];
    await waitFor(async () => typeof (await slotOf(leaving))?.agentCheck === 'number', {
      description: 'HAProxy to ask the node',
    });
    const clients = await connect(2);
    expect(nodes.map((node) => countOn(node, clients))).toEqual([1, 1]);
    // A weight set by hand lasts until the node is asked again: it is its answer that counts.
    const slot = (await slotOf(staying))?.slot ?? '';
    await haproxy.runtime.setWeight(CLIENT_BACKEND, slot, 7);
    await waitFor(async () => (await slotOf(staying))?.weight === 100, { description: 'the answer of the node' });
    await leaving.stop();
    await waitFor(async () => (await slotOf(leaving)) === undefined, { description: 'the slot of the node that left' });
    expect(countOn(staying, await connect(2))).toBe(2);
    const slots = await haproxy.runtime.slots(CLIENT_BACKEND);
    expect(slots.filter((one) => typeof one.agentCheck === 'number')).toHaveLength(1);
  });
});
