import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { startAnnounced, startFollowing } from '../../tests/support/announced-upstreams.ts';
import {
  closeAfterTest,
  closeAll,
  openSocket,
  openSockets,
  startEmptyHaproxy,
  startUpstream,
  type Upstream,
} from '../../tests/support/balanced-upstreams.ts';
import { startFaultProxy } from '../../tests/support/fault-proxy.ts';
import { waitFor } from '../../tests/support/wait-for.ts';
import { freePort } from '../cluster/free-port.ts';
import type { HaproxyProcess } from '../cluster/haproxy-process.ts';
import { startRedis } from '../cluster/redis-process.ts';
import { temporaryDirectory } from '../cluster/temporary-directory.ts';
import { CLIENT_BACKEND, type NodeAddress, SERVER_BACKEND } from '../haproxy-options.ts';
import { type RuntimeApi, RuntimeApiError, type Slot } from '../runtime-api.ts';

afterEach(closeAll);

const HOUR_MS = 3_600_000;

const startOwnRedis = async (port?: number) => {
  const redis = await startRedis(port === undefined ? {} : { port });
  closeAfterTest(redis.stop);
  return redis;
};

const slotsOf = async (haproxy: HaproxyProcess, node: Pick<NodeAddress, 'port'>): Promise<Slot[]> =>
  (await Promise.all([CLIENT_BACKEND, SERVER_BACKEND].map((backend) => haproxy.runtime.slots(backend))))
    .flat()
    .filter((slot) => slot.port === node.port && slot.admin !== 'maint');

/** Resolves once neither backend has the node in a slot in use. */
const isOut = (haproxy: HaproxyProcess, node: Upstream): Promise<unknown> =>
  waitFor(async () => (await slotsOf(haproxy, node)).length === 0, { description: `${node.name} to have no slot` });

const clientSlot = async (haproxy: HaproxyProcess, node: Upstream): Promise<Slot | undefined> =>
  (await haproxy.runtime.slots(CLIENT_BACKEND)).find((slot) => slot.port === node.port && slot.admin !== 'maint');

const socketsOf = (nodes: readonly Upstream[]): number[] => nodes.map((node) => node.sockets());

describe('an agent', () => {
  it('lets a node join and leave while the others keep their sockets, without a reload', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const first = await startAnnounced(redis, 'first');
    const second = await startAnnounced(redis, 'second');
    await startFollowing(redis, haproxy);
    await haproxy.nodesUp([first, second]);
    await openSockets(haproxy, 4);
    expect(socketsOf([first, second])).toEqual([2, 2]);

    const third = await startAnnounced(redis, 'third');
    await haproxy.nodesUp([third]);
    await openSockets(haproxy, 2);
    expect(socketsOf([first, second, third])).toEqual([2, 2, 2]);

    await third.leave();
    await isOut(haproxy, third);
    await openSockets(haproxy, 2);
    expect(socketsOf([first, second])).toEqual([3, 3]);
    expect(await haproxy.runtime.command('show info')).toContain(`\nPid: ${haproxy.pid}\n`);
  });

  it('drains a node that says so: its sockets stay, new ones go elsewhere, and back when it is ready again', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const [leaving, staying] = [await startAnnounced(redis, 'leaving'), await startAnnounced(redis, 'staying')];
    await startFollowing(redis, haproxy);
    await haproxy.nodesUp([leaving, staying]);
    const sockets = await openSockets(haproxy, 2);
    leaving.tell({ state: 'draining', ready: false });
    await waitFor(async () => (await clientSlot(haproxy, leaving))?.admin === 'drain', { description: 'the drain' });
    await openSockets(haproxy, 2);
    expect(socketsOf([leaving, staying])).toEqual([1, 3]);
    expect(sockets.map((socket) => socket.readyState)).toEqual([WebSocket.OPEN, WebSocket.OPEN]);
    leaving.tell({ state: 'ready', ready: true });
    await haproxy.nodesUp([leaving]);
    await openSocket(haproxy);
    expect(leaving.sockets()).toBe(2);
  });

  it('frees the slots of a node that died without a word when its lease is over', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const [dying, staying] = [await startAnnounced(redis, 'dying'), await startAnnounced(redis, 'staying')];
    const agent = await startFollowing(redis, haproxy);
    await haproxy.nodesUp([dying, staying]);
    await dying.vanish();
    await isOut(haproxy, dying);
    expect(await clientSlot(haproxy, staying)).toMatchObject({ admin: 'ready' });
    expect(agent.log.join('\n')).toContain('dying is gone');
  });

  it('puts a node whose lease is over into maintenance although it still answers', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const outside = await startUpstream('outside');
    const [node, staying] = [await startAnnounced(redis, 'node', {}, outside), await startAnnounced(redis, 'staying')];
    await startFollowing(redis, haproxy);
    await haproxy.nodesUp([node, staying]);
    await node.unannounce();
    await isOut(haproxy, node);
    await openSockets(haproxy, 3);
    expect([outside.health, outside.sockets(), staying.sockets()]).toEqual([200, 0, 3]);
  });

  it('gives new sockets by the weights that nodes announce, as they change', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const [full, half] = [await startAnnounced(redis, 'full'), await startAnnounced(redis, 'half', { weight: 50 })];
    await startFollowing(redis, haproxy);
    await haproxy.nodesUp([full, half]);
    await waitFor(async () => (await clientSlot(haproxy, half))?.weight === 50, { description: 'the weight' });
    await openSockets(haproxy, 9);
    expect(socketsOf([full, half])).toEqual([6, 3]);
    half.tell({ weight: 100 });
    await waitFor(async () => (await clientSlot(haproxy, half))?.weight === 100, { description: 'the new weight' });
    await openSockets(haproxy, 3);
    expect(socketsOf([full, half])).toEqual([6, 6]);
  });

  it('says which nodes found no slot, serves the others, and places them when one becomes free', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy({ slots: 2 })];
    const [first, second] = [await startAnnounced(redis, 'first'), await startAnnounced(redis, 'second')];
    const agent = await startFollowing(redis, haproxy);
    await haproxy.nodesUp([first, second]);
    const third = await startAnnounced(redis, 'third');
    await waitFor(() => agent.problems().includes('no free slot for third'), { description: 'the exhaustion' });
    expect(agent.metrics()).toMatchObject({ weir_balancer_members_unplaced: 1, weir_balancer_slots_free: 0 });
    expect(agent.log.join('\n')).toContain('HAProxy has no free slot for third: give it more slots');
    await openSockets(haproxy, 2);
    expect(socketsOf([first, second])).toEqual([1, 1]);
    await second.leave();
    await haproxy.nodesUp([third]);
    await waitFor(() => agent.problems().length === 0, { description: 'the agent to be content' });
    expect(agent.metrics()).toMatchObject({ weir_balancer_members_unplaced: 0 });
  });

  it('serves the others when HAProxy refuses one, and says in whose words', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const [refused, good] = [await startAnnounced(redis, 'a-refused'), await startAnnounced(redis, 'good')];
    const words = 'HAProxy refused "set server": no';
    const runtime: RuntimeApi = {
      ...haproxy.runtime,
      setAddress: (backend, slot, host, port) =>
        port === refused.port
          ? Promise.reject(new RuntimeApiError('refused', words))
          : haproxy.runtime.setAddress(backend, slot, host, port),
    };
    const agent = await startFollowing(redis, { runtime });
    await haproxy.nodesUp([good]);
    await waitFor(() => agent.problems().includes(words), { description: 'the refusal' });
    expect(agent.metrics()).toMatchObject({ weir_balancer_haproxy_up: 0 });
    await openSockets(haproxy, 2);
    expect(socketsOf([refused, good])).toEqual([0, 2]);
  });

  it('leaves out what announces no usable address, and says so', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    await startAnnounced(redis, 'named', { address: 'node.internal' });
    await startAnnounced(redis, 'wrong', { port: 0 });
    const good = await startAnnounced(redis, 'good');
    const agent = await startFollowing(redis, haproxy);
    await haproxy.nodesUp([good]);
    await waitFor(() => agent.metrics().weir_balancer_records_ignored === 2, { description: 'two to be ignored' });
    expect(agent.metrics().weir_balancer_members).toEqual({ ready: 1, draining: 0, not_ready: 0 });
    expect(agent.log.join('\n')).toContain('announce no usable address');
  });
});

describe('an agent whose registry is away', () => {
  it('keeps every node and every socket, also when Redis comes back empty, and says so', async () => {
    const redis = await startOwnRedis();
    const haproxy = await startEmptyHaproxy();
    const nodes = [await startAnnounced(redis, 'first'), await startAnnounced(redis, 'second')];
    const agent = await startFollowing(redis, haproxy);
    await haproxy.nodesUp(nodes);
    const sockets = await openSockets(haproxy, 4);
    const changes = { ...(agent.metrics().weir_balancer_changes_total as object) };
    await redis.stop();
    await waitFor(() => agent.problems().includes('the registry cannot be read'), { description: 'the outage' });
    agent.advance(HOUR_MS);
    await agent.rounds(3);
    expect(agent.metrics()).toMatchObject({ weir_balancer_registry_up: 0, weir_balancer_members: { ready: 2 } });
    await startOwnRedis(redis.port);
    await waitFor(() => agent.problems().length === 0, { description: 'the registry to be back' });
    await agent.rounds(3);
    expect(agent.metrics().weir_balancer_changes_total).toEqual(changes);
    expect(sockets.map((socket) => socket.readyState)).toEqual([1, 1, 1, 1]);
    await openSockets(haproxy, 2);
    expect(socketsOf(nodes)).toEqual([3, 3]);
  });

  it('keeps them when Redis answers but has lost its data, until nodes announce themselves again', async () => {
    const redis = await startOwnRedis();
    const haproxy = await startEmptyHaproxy();
    const nodes = [await startAnnounced(redis, 'first'), await startAnnounced(redis, 'second')];
    const agent = await startFollowing(redis, haproxy);
    await haproxy.nodesUp(nodes);
    for (const node of nodes) await node.unannounce();
    await waitFor(() => agent.problems().includes('the registry lists no node'), { description: 'the empty registry' });
    agent.advance(HOUR_MS);
    await agent.rounds(3);
    await openSockets(haproxy, 2);
    expect(socketsOf(nodes)).toEqual([1, 1]);
  });

  it('fills a HAProxy that restarts meanwhile from what it knows', async () => {
    const redis = await startOwnRedis();
    const directory = await temporaryDirectory('agent-test');
    closeAfterTest(directory.remove);
    const again = { port: await freePort(), config: { runtimeSocket: join(directory.path, 'admin.sock') } };
    const haproxy = await startEmptyHaproxy(again);
    const nodes = [await startAnnounced(redis, 'first'), await startAnnounced(redis, 'second')];
    const agent = await startFollowing(redis, haproxy);
    await haproxy.nodesUp(nodes);
    await redis.stop();
    await waitFor(() => agent.problems().includes('the registry cannot be read'), { description: 'the outage' });
    await haproxy.stop();
    const restarted = await startEmptyHaproxy(again);
    await restarted.nodesUp(nodes);
    await openSockets(restarted, 2);
    expect(socketsOf(nodes)).toEqual([1, 1]);
  });

  it('takes nothing back that another agent, who can read it, has done', async () => {
    const redis = await startOwnRedis();
    const haproxy = await startEmptyHaproxy();
    const proxy = await startFaultProxy({ port: redis.port });
    closeAfterTest(proxy.stop);
    const [dying, staying] = [await startAnnounced(redis, 'dying'), await startAnnounced(redis, 'staying')];
    await startFollowing(redis, haproxy);
    const cutOff = await startFollowing({ url: `redis://127.0.0.1:${proxy.port}` }, haproxy);
    await haproxy.nodesUp([dying, staying]);
    await waitFor(() => cutOff.problems().length === 0, { description: 'both agents to follow' });
    proxy.refuse();
    proxy.reset();
    await waitFor(() => cutOff.problems().includes('the registry cannot be read'), { description: 'the cut' });
    await dying.vanish();
    await isOut(haproxy, dying);
    const changes = { ...(cutOff.metrics().weir_balancer_changes_total as object) };
    await cutOff.rounds(3);
    expect(cutOff.metrics().weir_balancer_changes_total).toEqual(changes);
    expect(await slotsOf(haproxy, dying)).toEqual([]);
  });
});

describe('HAProxy and its agents', () => {
  it('a HAProxy that restarts has its nodes again', async () => {
    const redis = await startOwnRedis();
    const directory = await temporaryDirectory('agent-test');
    closeAfterTest(directory.remove);
    const again = { port: await freePort(), config: { runtimeSocket: join(directory.path, 'admin.sock') } };
    const haproxy = await startEmptyHaproxy(again);
    const nodes = [await startAnnounced(redis, 'first'), await startAnnounced(redis, 'second', { weight: 30 })];
    const agent = await startFollowing(redis, haproxy);
    await haproxy.nodesUp(nodes);
    haproxy.kill('SIGKILL');
    await haproxy.exited;
    await waitFor(() => agent.metrics().weir_balancer_haproxy_up === 0, { description: 'HAProxy to be missed' });
    const restarted = await startEmptyHaproxy(again);
    await restarted.nodesUp(nodes);
    expect(await clientSlot(restarted, nodes[1]!)).toMatchObject({ weight: 30 });
    await waitFor(() => agent.problems().length === 0, { description: 'the agent to be content' });
  });

  it('an agent that restarts takes nothing away before it knows better, and clears what is left over', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const [node, leftOver] = [await startAnnounced(redis, 'node'), await startUpstream('left-over')];
    await haproxy.setNodes([node, leftOver]);
    const before = await slotsOf(haproxy, leftOver);
    const agent = await startFollowing(redis, haproxy);
    agent.advance(-HOUR_MS);
    await waitFor(() => agent.problems().length === 0, { description: 'the agent to follow' });
    await agent.rounds(1);
    expect((await slotsOf(haproxy, leftOver)).length).toBe(before.length);
    agent.advance(HOUR_MS);
    await isOut(haproxy, leftOver);
    expect(await clientSlot(haproxy, node)).toMatchObject({ admin: 'ready' });
  });

  it('three agents at once end where one would, whatever joins and leaves meanwhile', async () => {
    const [redis, haproxy] = [await startOwnRedis(), await startEmptyHaproxy()];
    const agents = [];
    for (let n = 0; n < 3; n += 1) agents.push(await startFollowing(redis, haproxy));
    const nodes = await Promise.all(['a', 'b', 'c', 'd'].map((name) => startAnnounced(redis, name)));
    await haproxy.nodesUp(nodes);
    const sockets = await openSockets(haproxy, 8);
    const [e, f] = await Promise.all(['e', 'f'].map((name) => startAnnounced(redis, name)));
    await Promise.all([nodes[0]!.leave(), nodes[1]!.leave()]);
    const left = [nodes[2]!, nodes[3]!, e!, f!];
    await haproxy.nodesUp(left);
    await Promise.all([isOut(haproxy, nodes[0]!), isOut(haproxy, nodes[1]!)]);
    for (const node of left) {
      await waitFor(async () => (await slotsOf(haproxy, node)).length === 2, { description: 'one slot per backend' });
    }
    expect(socketsOf([nodes[2]!, nodes[3]!])).toEqual([2, 2]);
    expect(sockets.filter((socket) => socket.readyState === WebSocket.OPEN)).toHaveLength(4);
    expect(agents.map((agent) => agent.problems())).toEqual([[], [], []]);
  });
});
