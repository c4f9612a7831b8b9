// The WebSocket transport against a real server.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { WeirClient } from '../client.ts';
import type { Transport, TransportClose } from './transport.ts';
import { webSocketTransport } from './websocket.ts';

let server: WebSocketServer;
let url: string;
beforeEach(async () => {
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/v1/ws`;
});
afterEach(async () => {
  for (const socket of server.clients) socket.terminate();
  await new Promise((resolve) => server.close(resolve));
});

const closeOf = (address: string, transport = webSocketTransport()): Promise<TransportClose> =>
  new Promise((resolve) => {
    transport(address, { onOpen: () => undefined, onFrame: () => undefined, onClose: resolve });
  });

it('tells a permanent error when the URL cannot be used', async () => {
  const { error } = await closeOf('not a url');
  expect(error).toMatchObject({ name: 'transport_failed', temporary: false });
});

it('tells 1006 without an error when nobody listens', async () => {
  await new Promise((resolve) => server.close(resolve));
  const close = await closeOf(url);
  expect(close.code).toBe(1006);
  expect(close.error).toBeUndefined();
});

it('tells the close code and reason of the server', async () => {
  server.on('connection', (socket) => socket.close(1013, 'retryAfterMs=5'));
  await expect(closeOf(url)).resolves.toEqual({ code: 1013, reason: 'retryAfterMs=5' });
});

it('calls nothing after it was closed, also while it opens', async () => {
  const calls: string[] = [];
  const handlers = {
    onOpen: () => calls.push('open'),
    onFrame: () => calls.push('frame'),
    onClose: () => calls.push('close'),
  };
  // Closed before the constructor was looked up, and closed while the handshake is on its way.
  webSocketTransport()(url, handlers).close(1000, 'at once');
  let transport: Transport | undefined;
  const socket = await new Promise<WebSocket>((resolve) => {
    class Recorded extends WebSocket {
      constructor(address: string, protocols?: string | string[]) {
        super(address, protocols);
        resolve(this);
      }
    }
    transport = webSocketTransport(Recorded)(url, handlers);
  });
  // Not `once`, which would reject on the error that `ws` emits here.
  const closed = new Promise((resolve) => socket.on('close', resolve));
  transport?.close(1000, 'while opening');
  await closed;
  expect(calls).toEqual([]);
});

it('carries frames under the native sub-protocol, and takes an http URL', async () => {
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const opened = new Promise<string>((resolve, reject) => {
    const transport = webSocketTransport()(url.replace('ws:', 'http:'), {
      onOpen: () => transport.send('{"type":"ping"}'),
      onFrame: (frame) => {
        transport.close(1000, 'done');
        resolve(frame);
      },
      onClose: reject,
    });
  });
  const [socket] = await accepted;
  expect(socket.protocol).toBe('weir.v1.json');
  const [frame] = (await once(socket, 'message')) as [Buffer];
  socket.send(`[${frame.toString()}]`);
  await expect(opened).resolves.toBe('[{"type":"ping"}]');
  const [code] = (await once(socket, 'close')) as [number];
  expect(code).toBe(1000);
});

it('works under a client from connect to disconnect', async () => {
  server.on('connection', (socket) => {
    socket.on('message', (frame: Buffer) => {
      const { id } = JSON.parse(frame.toString()) as { id: number };
      const limits = { maxFrameBytes: 65_536, maxSubscriptions: 10 };
      const connected = { connection: 'c', node: 'n', session: 's', pingIntervalMs: 25_000, limits, broker: 'ready' };
      socket.send(JSON.stringify({ type: 'connected', id, ...connected, serverTime: 0 }));
    });
  });
  const client = new WeirClient(url);
  await client.connect();
  expect(client.isConnected).toBe(true);
  const [socket] = server.clients;
  client.disconnect();
  await once(socket!, 'close');
});
