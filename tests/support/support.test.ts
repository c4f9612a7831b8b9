import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { startFaultProxy } from './fault-proxy.ts';
import { requestJson } from './http.ts';
import { OPCODE, openRawSocket, upgradeRequest, webSocketFrame } from './raw-socket.ts';
import { waitFor } from './wait-for.ts';
import { openWsClient, UpgradeRefused } from './ws-client.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(
    () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  );
  return (server.address() as AddressInfo).port;
}

interface Command {
  id: number;
  type: string;
  [field: string]: unknown;
}

/** Answers commands as a node would, and echoes what it hears of other things. */
async function startReplyServer(): Promise<number> {
  const http = createServer((request, response) => {
    response.statusCode = request.url === '/missing' ? 404 : 200;
    response.end(JSON.stringify({ path: request.url, key: request.headers['x-api-key'] ?? null }));
  });
  const sockets = new WebSocketServer({ noServer: true });
  http.on('upgrade', (request, socket, head) => {
    if (request.url === '/refused') {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nConnection: close\r\n\r\norigin');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      // Broken frames are part of these tests; the connection ends by itself.
      ws.on('error', () => undefined);
      ws.on('message', (bytes: Buffer) => {
        const frame = JSON.parse(bytes.toString()) as Command | Command[];
        for (const { id, type, ...fields } of Array.isArray(frame) ? frame : [frame]) {
          if (type === 'connect') ws.send(JSON.stringify({ id, type: 'connected', ...fields }));
          else if (type === 'burst') {
            const push = (offset: number): object => ({ type: 'message', channel: 'a', offset });
            ws.send(JSON.stringify([{ id, type: 'done' }, push(1), push(2)]));
            ws.send(JSON.stringify(push(3)));
          } else if (type === 'leave') ws.close(3001, 'drain');
          else ws.send(JSON.stringify({ id, type: 'error', code: 104 }));
        }
      });
    });
  });
  closers.push(
    () =>
      new Promise((resolve) => {
        for (const ws of sockets.clients) ws.terminate();
        sockets.close(() => {
          resolve();
        });
      }),
  );
  return listen(http);
}

describe('waitFor', () => {
  it('names what it waited for and the last failure when the time is up', async () => {
    const waiting = waitFor(
      () => {
        throw new Error('not yet there');
      },
      { timeoutMs: 20, description: 'the sky to fall' },
    );
    await expect(waiting).rejects.toThrow('still waiting for the sky to fall after 20 ms: not yet there');
  });

  it('resolves with the first useful value', async () => {
    let asked = 0;
    expect(await waitFor(() => (++asked < 3 ? undefined : asked), { description: 'a third look' })).toBe(3);
  });

  it('takes 0 and the empty string as values', async () => {
    expect(await waitFor(() => 0, { description: 'zero' })).toBe(0);
    expect(await waitFor(() => '', { description: 'nothing' })).toBe('');
  });
});

describe('requestJson', () => {
  it('returns status and body whatever the status', async () => {
    const port = await startReplyServer();
    const missing = await requestJson(`http://127.0.0.1:${port}/missing`, { apiKey: 'secret' });
    expect(missing.status).toBe(404);
    expect(missing.body).toEqual({ path: '/missing', key: 'secret' });
  });
});

describe('the WebSocket test client', () => {
  it('rejects with the HTTP answer when the upgrade is refused', async () => {
    const port = await startReplyServer();
    const refusal = await openWsClient(`ws://127.0.0.1:${port}/refused`).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(UpgradeRefused);
    expect(refusal).toMatchObject({ status: 403, body: 'origin' });
  });

  it('resolves an error reply of a command and throws it from expect', async () => {
    const port = await startReplyServer();
    await using client = await openWsClient(`ws://127.0.0.1:${port}/v1/ws`);
    expect(await client.command('nonsense')).toMatchObject({ type: 'error', code: 104 });
    await expect(client.expect('nonsense')).rejects.toThrow('104');
  });

  it('rejects a pending command when the connection closes', async () => {
    const port = await startReplyServer();
    await using client = await openWsClient(`ws://127.0.0.1:${port}/v1/ws`);
    await expect(client.command('leave')).rejects.toThrow('closed with 3001 drain');
    expect(await client.waitForClose()).toEqual({ code: 3001, reason: 'drain' });
  });

  it('says how many messages are here when those awaited do not come', async () => {
    const port = await startReplyServer();
    await using client = await openWsClient(`ws://127.0.0.1:${port}/v1/ws`, { timeoutMs: 100 });
    await client.command('burst');
    await expect(client.waitForMessages(4, 'a')).rejects.toThrow('4 messages of a, 3 are here');
  });

  it('matches replies by id and takes batches apart in order', async () => {
    const port = await startReplyServer();
    await using client = await openWsClient(`ws://127.0.0.1:${port}/v1/ws`, { connect: { token: 't' } });
    expect(client.connected).toMatchObject({ type: 'connected', token: 't' });
    const replies = await client.commands([{ type: 'burst' }, { type: 'other' }]);
    expect(replies.map((reply) => reply.type)).toEqual(['done', 'error']);
    const messages = await client.waitForMessages(3);
    expect(messages.map((message) => message['offset'])).toEqual([1, 2, 3]);
    expect(client.frames()).toBe(4);
  });
});

describe('the raw socket', () => {
  it('upgrades by hand and reads the frame that answers', async () => {
    const port = await startReplyServer();
    await using raw = await openRawSocket(port);
    raw.write(upgradeRequest('/v1/ws', { 'Sec-WebSocket-Protocol': undefined }));
    await raw.waitForText(/^HTTP\/1\.1 101 /);
    raw.write(webSocketFrame({ opcode: OPCODE.text, payload: JSON.stringify({ id: 1, type: 'connect' }) }));
    await raw.waitForText(/"connected"/);
  });

  it('sees the end of a connection that the server cuts for a broken frame', async () => {
    const port = await startReplyServer();
    await using raw = await openRawSocket(port);
    raw.write(upgradeRequest('/v1/ws', { 'Sec-WebSocket-Protocol': undefined }));
    await raw.waitForText(/101/);
    raw.write(webSocketFrame({ opcode: OPCODE.text, payload: 'x', reserved: 7, masked: false }));
    await raw.waitForEnd();
  });
});

describe('the fault proxy', () => {
  /** A client with a proxy between it and the server. */
  async function start() {
    const port = await startReplyServer();
    const proxy = await startFaultProxy({ port });
    closers.push(proxy.stop);
    return { proxy, url: `ws://127.0.0.1:${proxy.port}/v1/ws` };
  }

  it('cuts one connection and leaves the other alone', async () => {
    const { proxy, url } = await start();
    await using first = await openWsClient(url);
    await using second = await openWsClient(url);
    proxy.connections()[0]!.kill();
    expect((await first.waitForClose()).code).toBe(1006);
    expect((await second.command('burst')).type).toBe('done');
    await waitFor(() => proxy.connections().length === 1, { description: 'the cut connection to be forgotten' });
  });

  it('lets nothing through in a blackhole and everything after it', async () => {
    const { proxy, url } = await start();
    await using client = await openWsClient(url, { timeoutMs: 10_000 });
    proxy.blackhole();
    const reply = client.command('burst');
    // A second connection is accepted by the kernel and hears nothing.
    await expect(openWsClient(url, { timeoutMs: 100 })).rejects.toThrow();
    expect(client.received).toHaveLength(1);
    expect(client.closed()).toBeUndefined();
    proxy.heal();
    expect((await reply).type).toBe('done');
  });

  it('delays without changing the order', async () => {
    const { proxy, url } = await start();
    await using client = await openWsClient(url);
    proxy.delay(30);
    const before = performance.now();
    const replies = Promise.all([client.command('burst'), client.command('burst')]);
    proxy.delay(15);
    await replies;
    expect(performance.now() - before).toBeGreaterThanOrEqual(15);
    const offsets = (await client.waitForMessages(6)).map((message) => message['offset']);
    expect(offsets).toEqual([1, 2, 3, 1, 2, 3]);
  });

  it('refuses new connections until it is healed', async () => {
    const { proxy, url } = await start();
    proxy.refuse();
    await expect(openWsClient(url)).rejects.toThrow();
    proxy.heal();
    await using client = await openWsClient(url);
    expect(client.connected?.type).toBe('connected');
    proxy.reset();
    expect((await client.waitForClose()).code).toBe(1006);
  });

  it('cuts the client when the server behind it is gone', async () => {
    const { proxy, url } = await start();
    await using client = await openWsClient(url);
    client.send({ type: 'leave' });
    expect((await client.waitForClose()).code).toBe(3001);
    await waitFor(() => proxy.connections().length === 0, { description: 'both sides to be closed' });
  });
});
