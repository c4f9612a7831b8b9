import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import {
  closeAfterTest,
  closeAll,
  openSocket,
  openSockets,
  startBalanced,
  startUpstream,
} from '../tests/support/balanced-upstreams.ts';
import { waitFor } from '../tests/support/wait-for.ts';
import { openAgentCheck } from '../gateway/overload/agent-check.ts';
import { temporaryDirectory } from './cluster/temporary-directory.ts';
import { CLIENT_BACKEND } from './haproxy-options.ts';
import { applyMembership } from './membership.ts';
import { createRuntimeApi } from './runtime-api.ts';

afterEach(closeAll);

const READY = { state: () => ({ kind: 'ready' }) as const };

describe('membership through the Runtime API, without a reload', () => {
  it('lets a node that answers nothing yet join only when its check passes', async () => {
    const { haproxy, upstreams } = await startBalanced(1);
    const late = await startUpstream('late');
    late.health = 503;
    const joining = haproxy.setNodes([...upstreams, late]);
    await waitFor(async () => (await haproxy.runtime.slots(CLIENT_BACKEND)).some((slot) => slot.port === late.port), {
      description: 'the late node to have a slot',
    });
    await openSockets(haproxy, 4);
    expect(late.sockets()).toBe(0);
    late.health = 200;
    await joining;
    await openSocket(haproxy);
    expect(late.sockets()).toBe(1);
  });

  it('replaces a node: its sockets stay until they end, then its slot is free again', async () => {
    const { haproxy, upstreams } = await startBalanced(1, { slots: 2 });
    const pidBefore = haproxy.pid;
    const [socket] = await openSockets(haproxy, 1);
    const successor = await startUpstream('successor');
    // One slot per backend; that of the server API, without sessions, is freed the next time.
    expect(await haproxy.setNodes([successor])).toMatchObject({ unplaced: [], draining: 2 });
    await openSocket(haproxy);
    expect([upstreams[0]!.sockets(), successor.sockets()]).toEqual([1, 1]);

    const third = await startUpstream('third');
    expect((await haproxy.setNodes([successor])).draining).toBe(1);
    socket!.terminate();
    await waitFor(async () => (await haproxy.setNodes([successor])).draining === 0, {
      description: 'the slot to be free',
    });
    expect((await haproxy.setNodes([successor, third])).unplaced).toEqual([]);
    expect(haproxy.pid).toBe(pidBefore);
  });

  it('reports a node for which there is no slot', async () => {
    const { haproxy, upstreams } = await startBalanced(1, { slots: 1 });
    const socket = await openSocket(haproxy);
    const other = await startUpstream('other');
    await expect(haproxy.setNodes([...upstreams, other])).rejects.toThrow('no free slot for other');
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });
});

describe('the Runtime API client', () => {
  it('says that no HAProxy is there', async () => {
    const directory = await temporaryDirectory('runtime-test');
    closeAfterTest(directory.remove);
    const api = createRuntimeApi(join(directory.path, 'none.sock'));
    await expect(api.command('show info')).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('turns refusals into errors that hold the words of HAProxy', async () => {
    const { haproxy } = await startBalanced(0, { slots: 1 });
    const { runtime } = haproxy;
    await expect(runtime.setState(CLIENT_BACKEND, 'node9', 'ready')).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('No such server') as unknown,
    });
    await expect(runtime.slots('nobody')).rejects.toMatchObject({ code: 'refused' });
    await expect(runtime.setAddress(CLIENT_BACKEND, 'node9', '127.0.0.1', 80)).rejects.toMatchObject({
      code: 'refused',
    });
  });

  it('refuses arguments that would change the meaning of a command', async () => {
    const { runtime } = (await startBalanced(0, { slots: 1 })).haproxy;
    const invalid = { code: 'invalid' };
    await expect(runtime.setState(CLIENT_BACKEND, 'node1 state ready; shutdown', 'maint')).rejects.toMatchObject(
      invalid,
    );
    await expect(runtime.setAddress(CLIENT_BACKEND, 'node1', 'localhost', 80)).rejects.toMatchObject(invalid);
    await expect(runtime.setAddress(CLIENT_BACKEND, 'node1', '127.0.0.1', 0)).rejects.toMatchObject(invalid);
    await expect(runtime.setAgentCheck(CLIENT_BACKEND, 'node1', { host: 'localhost', port: 80 })).rejects.toMatchObject(
      invalid,
    );
    await expect(runtime.setWeight(CLIENT_BACKEND, 'node1', 257)).rejects.toMatchObject(invalid);
    await expect(runtime.command('show info\nshow stat')).rejects.toMatchObject(invalid);
  });

  it('sets weights', async () => {
    const { haproxy } = await startBalanced(1);
    await haproxy.runtime.setWeight(CLIENT_BACKEND, 'node1', 25);
    const slots = await haproxy.runtime.slots(CLIENT_BACKEND);
    expect(slots.find((slot) => slot.slot === 'node1')?.weight).toBe(25);
  });

  it('tells whether HAProxy asks a node, and asks where it is told', async () => {
    const { haproxy: without } = await startBalanced(1, { config: { agentCheck: undefined } });
    expect((await without.runtime.slots(CLIENT_BACKEND))[0]).toMatchObject({ agentCheck: 'none' });
    const { haproxy, upstreams } = await startBalanced(1);
    const slotNow = async () => (await haproxy.runtime.slots(CLIENT_BACKEND))[0];
    expect(await slotNow()).toMatchObject({ agentCheck: 'off', weight: 100 });
    const check = await openAgentCheck({ ...READY, host: '127.0.0.1', port: 0, weight: () => 30 });
    closeAfterTest(check.close);
    await haproxy.setNodes(upstreams.map(({ name, host, port }) => ({ name, host, port, agentCheckPort: check.port })));
    await waitFor(async () => (await slotNow())?.weight === 30, { description: 'the weight that the node answers' });
    expect(await slotNow()).toMatchObject({ agentCheck: check.port });
  });

  it('a node whose slot was freed cannot come back by its agent-check', async () => {
    const { haproxy, upstreams } = await startBalanced(1, { slots: 1 });
    let asked = 0;
    const weight = () => (asked += 1) && 100;
    const check = await openAgentCheck({ ...READY, host: '127.0.0.1', port: 0, weight });
    closeAfterTest(check.close);
    const nodes = upstreams.map(({ name, host, port }) => ({ name, host, port, agentCheckPort: check.port }));
    await haproxy.setNodes(nodes);
    await waitFor(() => asked > 2, { description: 'HAProxy to ask' });
    await applyMembership(haproxy.runtime, [], { unwanted: 'free' });
    const slotNow = async () => (await haproxy.runtime.slots(CLIENT_BACKEND))[0];
    expect(await slotNow()).toMatchObject({ agentCheck: 'off', admin: 'maint' });
    const other = await startUpstream('other');
    await haproxy.setNodes([other]);
    const before = asked;
    await openSockets(haproxy, 2);
    expect([asked, other.sockets()]).toEqual([before, 2]);
    expect(await slotNow()).toMatchObject({ agentCheck: 'off', admin: 'ready' });
  });
});
