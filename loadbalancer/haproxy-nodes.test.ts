import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import {
  closeAll,
  nodeIs,
  openSocket,
  openSockets,
  startBalanced,
  type Upstream,
} from '../tests/support/balanced-upstreams.ts';
import { requestJson } from '../tests/support/http.ts';
import { waitFor } from '../tests/support/wait-for.ts';
import { CLIENT_BACKEND, SERVER_BACKEND } from './haproxy-options.ts';

afterEach(closeAll);

describe('HAProxy in front of nodes that fail', () => {
  it('answers 503 on the public listener while no node is ready', async () => {
    const { haproxy, upstreams } = await startBalanced(1);
    upstreams[0]!.health = 503;
    await nodeIs(haproxy, upstreams[0]!, 'down');
    expect((await requestJson(`${haproxy.publicUrl}/v1/poll`, { body: {} })).status).toBe(503);
    expect((await requestJson(`${haproxy.publicUrl}/health/ready`)).status).toBe(503);
    expect((await requestJson(`${haproxy.publicUrl}/health/live`)).status).toBe(200);
    upstreams[0]!.health = 200;
    await nodeIs(haproxy, upstreams[0]!, 'up');
    expect((await requestJson(`${haproxy.publicUrl}/health/ready`)).status).toBe(200);
  });

  it('cuts the sockets of a node whose check answers neither 200 nor 404, and sends their successors elsewhere', async () => {
    const { haproxy, upstreams } = await startBalanced(2);
    const sockets = await openSockets(haproxy, 4);
    const [sick, well] = upstreams as [Upstream, Upstream];
    expect(sick.sockets()).toBe(2);
    sick.health = 503;
    await waitFor(() => sockets.filter((socket) => socket.readyState === WebSocket.CLOSED).length === 2, {
      description: 'both sockets of the sick node to be cut',
    });
    await openSockets(haproxy, 2);
    expect(well.sockets()).toBe(4);
  });

  it('marks a dead node down and serves every request from the other', async () => {
    const { haproxy, upstreams } = await startBalanced(2);
    await upstreams[0]!.die();
    // Also before the check notices: a refused connection is tried at another node.
    for (let i = 0; i < 10; i += 1) {
      expect((await requestJson(`${haproxy.publicUrl}/v1/poll`, { body: {} })).body).toEqual({ node: 'up2' });
    }
    await nodeIs(haproxy, upstreams[0]!, 'down');
  });

  it('drains a node that answers 404: sockets stay and work, new ones go elsewhere', async () => {
    const { haproxy, upstreams } = await startBalanced(2);
    const sockets = await openSockets(haproxy, 4);
    const [leaving, staying] = upstreams as [Upstream, Upstream];
    leaving.health = 404;
    await nodeIs(haproxy, leaving, 'draining');
    await openSockets(haproxy, 3);
    expect([leaving.sockets(), staying.sockets()]).toEqual([2, 5]);
    const answers = await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<string>((resolve) => {
            socket.once('message', (text: Buffer) => {
              resolve(text.toString());
            });
            socket.send('still here');
          }),
      ),
    );
    expect(answers.filter((answer) => answer === 'up1: still here')).toHaveLength(2);
    leaving.health = 200;
    await nodeIs(haproxy, leaving, 'up');
    await openSocket(haproxy);
    expect(leaving.sockets()).toBe(3);
  });
});

describe('HAProxy spreads', () => {
  it('sockets by leastconn: a node that lost its sockets gets the next ones', async () => {
    const { haproxy, upstreams } = await startBalanced(2);
    const sockets = await openSockets(haproxy, 6);
    expect(upstreams.map((node) => node.sockets())).toEqual([3, 3]);
    const ofFirst: WebSocket[] = [];
    for (const socket of sockets) {
      const name = await new Promise<string>((resolve) => {
        socket.once('message', (text: Buffer) => {
          resolve(text.toString());
        });
        socket.send('');
      });
      if (name.startsWith('up1')) ofFirst.push(socket);
    }
    for (const socket of ofFirst) socket.terminate();
    await waitFor(
      async () => {
        const slots = await haproxy.runtime.slots(CLIENT_BACKEND);
        return slots.some((slot) => slot.port === upstreams[0]!.port && slot.sessions === 0);
      },
      { description: 'HAProxy to see the sockets gone' },
    );
    await openSockets(haproxy, 3);
    expect(upstreams.map((node) => node.sockets())).toEqual([3, 3]);
  });

  it('requests of servers evenly, however uneven the sockets are', async () => {
    const { haproxy, upstreams } = await startBalanced(2);
    upstreams[1]!.health = 404;
    await nodeIs(haproxy, upstreams[1]!, 'draining');
    await openSockets(haproxy, 5);
    upstreams[1]!.health = 200;
    await nodeIs(haproxy, upstreams[1]!, 'up');
    await waitFor(
      async () =>
        (await haproxy.runtime.slots(SERVER_BACKEND)).filter((slot) => slot.operational === 'up').length === 2,
      { description: 'both nodes to take requests of servers' },
    );
    const before = upstreams.map((node) => node.requests.length);
    for (let i = 0; i < 10; i += 1) await requestJson(`${haproxy.apiUrl}/v1/publish`, { body: {} });
    expect(upstreams.map((node, i) => node.requests.length - before[i]!)).toEqual([5, 5]);
  });

  it('one source to one node with the source profile', async () => {
    const { haproxy, upstreams } = await startBalanced(3, { balance: 'source' });
    await openSockets(haproxy, 6);
    expect(upstreams.map((node) => node.sockets()).sort()).toEqual([0, 0, 6]);
  });

  it('in turn with the roundrobin profile', async () => {
    const { haproxy, upstreams } = await startBalanced(3, { balance: 'roundrobin' });
    await openSockets(haproxy, 6);
    expect(upstreams.map((node) => node.sockets())).toEqual([2, 2, 2]);
  });
});
