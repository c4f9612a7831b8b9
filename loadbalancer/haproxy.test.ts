import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { requestJson } from '../tests/support/http.ts';
import { openRawSocket } from '../tests/support/raw-socket.ts';
import { waitFor } from '../tests/support/wait-for.ts';
import { type HaproxyProcess, type LocalHaproxyOptions, startHaproxy } from './cluster/haproxy-process.ts';
import { temporaryDirectory } from './cluster/temporary-directory.ts';
import { CLIENT_BACKEND, SERVER_BACKEND } from './haproxy-options.ts';
import { createRuntimeApi } from './runtime-api.ts';

/** What stands behind HAProxy here: an HTTP server that answers health as told and names itself. */
interface Upstream {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** What it answers at /health/ready. */
  health: number;
  /** WebSockets it serves. */
  sockets(): number;
  /** Requests it answered, health checks apart. */
  readonly requests: { path: string; headers: IncomingHttpHeaders }[];
  /** Cuts everything and stops listening. */
  die(): Promise<void>;
}

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startUpstream(name: string): Promise<Upstream> {
  const sockets = new WebSocketServer({ noServer: true });
  const requests: Upstream['requests'] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    if (path === '/health/ready') {
      response.writeHead(upstream.health).end();
      return;
    }
    requests.push({ path, headers: request.headers });
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ node: name }));
  });
  server.on('upgrade', (request, socket, head) => {
    requests.push({ path: request.url ?? '', headers: request.headers });
    sockets.handleUpgrade(request, socket, head, (ws) => {
      ws.on('message', (text: Buffer) => {
        ws.send(`${name}: ${text.toString()}`);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const upstream: Upstream = {
    name,
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    health: 200,
    sockets: () => sockets.clients.size,
    requests,
    die: async () => {
      for (const ws of sockets.clients) ws.terminate();
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  closers.push(upstream.die);
  return upstream;
}

async function startBalanced(count: number, options: LocalHaproxyOptions = {}) {
  const upstreams = await Promise.all(Array.from({ length: count }, (_, i) => startUpstream(`up${i + 1}`)));
  const haproxy = await startHaproxy({ ...options, config: { checkIntervalMs: 100, threads: 1, ...options.config } });
  closers.push(haproxy.stop);
  await haproxy.setNodes(upstreams);
  return { haproxy, upstreams };
}

async function openSocket(haproxy: HaproxyProcess, headers: Record<string, string> = {}): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${haproxy.port}/v1/ws`, { headers });
  closers.push(() => {
    socket.terminate();
    return Promise.resolve();
  });
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return socket;
}

const openSockets = async (haproxy: HaproxyProcess, count: number): Promise<WebSocket[]> => {
  const sockets: WebSocket[] = [];
  for (let i = 0; i < count; i += 1) sockets.push(await openSocket(haproxy));
  return sockets;
};

/** Resolves once HAProxy says of this node what `state` names, in the backend of clients. */
async function nodeIs(haproxy: HaproxyProcess, node: Upstream, state: 'up' | 'down' | 'draining'): Promise<void> {
  await waitFor(
    async () => {
      const slots = await haproxy.runtime.slots(CLIENT_BACKEND);
      return slots.some((slot) => slot.port === node.port && slot.operational === state);
    },
    { description: `${node.name} to be ${state}` },
  );
}

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

  it('cuts the sockets of a node whose check answers 503, and sends their successors elsewhere', async () => {
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

describe('HAProxy towards clients', () => {
  it('hides the server API, metrics and everything unnamed from the public listener', async () => {
    const { haproxy, upstreams } = await startBalanced(1);
    const hidden = [
      ...[
        '/metrics',
        '/v1/publish',
        '/v1/batch',
        '/v1/channels',
        '/v1/channels/a/history',
        '/v1/stats',
        '/v1/connections',
      ],
      ...[
        '/v1/disconnect',
        '/v1/subscribe',
        '/v1/unsubscribe',
        '/v1/openapi.json',
        '/api/ingest',
        '/ws/stats',
        '/',
        '/console',
      ],
      ...['/v1/ws/', '//v1/ws', '/v1/ws/../publish', '/v1/ws%2f..%2fpublish', '/V1/WS', '/v1/poll;/metrics'],
    ];
    for (const path of hidden) {
      await using raw = await openRawSocket(haproxy.port);
      raw.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      expect(await raw.waitForEnd(), path).toMatch(/^HTTP\/1\.1 404 [^]*application\/problem\+json/);
    }
    expect(upstreams[0]!.requests).toEqual([]);
    for (const path of ['/v1/poll', '/v1/stream?channel=a', '/v1/ws', '/ws']) {
      expect((await requestJson(`${haproxy.publicUrl}${path}`)).status, path).toBe(200);
    }
  });

  it('opens further paths on demand, and no way around through ..', async () => {
    const { haproxy } = await startBalanced(1, { config: { extraPublicPaths: ['/app/'] } });
    expect((await requestJson(`${haproxy.publicUrl}/app/key`)).status).toBe(200);
    await using raw = await openRawSocket(haproxy.port);
    raw.write('GET /app/../metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    expect(await raw.waitForEnd()).toMatch(/^HTTP\/1\.1 404 /);
  });

  it.each(['publicUrl', 'apiUrl'] as const)(
    'tells the node the real address at %s and drops what clients claim',
    async (listener) => {
      const { haproxy, upstreams } = await startBalanced(1);
      await requestJson(`${haproxy[listener]}/v1/poll`, {
        headers: {
          'X-Real-IP': '6.6.6.6',
          'X-Forwarded-For': '6.6.6.6',
          'X-Forwarded-Proto': 'https',
          Forwarded: 'for=6.6.6.6',
          with_underscore: '1',
          Origin: 'https://app.example',
        },
      });
      const { headers } = upstreams[0]!.requests[0]!;
      expect(headers).toMatchObject({
        'x-real-ip': '127.0.0.1',
        'x-forwarded-proto': 'http',
        origin: 'https://app.example',
      });
      for (const name of ['x-forwarded-for', 'forwarded', 'with_underscore']) expect(headers).not.toHaveProperty(name);
    },
  );

  it('overwrites a spoofed address on WebSocket upgrades as well', async () => {
    const { haproxy, upstreams } = await startBalanced(1);
    await openSocket(haproxy, { 'X-Real-IP': '6.6.6.6' });
    expect(upstreams[0]!.requests[0]!.headers['x-real-ip']).toBe('127.0.0.1');
  });

  it('refuses a source above its limit with 429 and a time to come back', async () => {
    const limits = { maxConnections: 2, maxConnectionsPer10s: 1_000 };
    const { haproxy } = await startBalanced(1, { config: { perSource: limits } });
    const [first] = await openSockets(haproxy, 2);
    const refused = await requestJson(`${haproxy.publicUrl}/v1/poll`, { body: {}, headers: { Connection: 'close' } });
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('10');
    expect(refused.body).toMatchObject({ code: 111, name: 'too_many_requests' });
    first!.terminate();
    await waitFor(
      async () =>
        (await requestJson(`${haproxy.publicUrl}/v1/poll`, { body: {}, headers: { Connection: 'close' } })).status ===
        200,
      { description: 'room for one more' },
    );
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
    closers.push(directory.remove);
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
    await expect(runtime.setWeight(CLIENT_BACKEND, 'node1', 257)).rejects.toMatchObject(invalid);
    await expect(runtime.command('show info\nshow stat')).rejects.toMatchObject(invalid);
  });

  it('sets weights', async () => {
    const { haproxy } = await startBalanced(1);
    await haproxy.runtime.setWeight(CLIENT_BACKEND, 'node1', 25);
    const slots = await haproxy.runtime.slots(CLIENT_BACKEND);
    expect(slots.find((slot) => slot.slot === 'node1')?.weight).toBe(25);
  });
});

describe('the operations listener', () => {
  it('serves statistics and Prometheus metrics', async () => {
    const { haproxy } = await startBalanced(1);
    expect((await requestJson(`${haproxy.statsUrl}/`)).text).toContain('Statistics Report');
    expect((await requestJson(`${haproxy.statsUrl}/metrics`)).text).toContain(
      'haproxy_backend_current_sessions{proxy="clients"}',
    );
  });
});
