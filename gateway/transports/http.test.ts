import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import uWS from 'uWebSockets.js';
import { afterEach, describe, expect, it } from 'vitest';
import { type HeadDecision, type RouteOptions, route } from './http.ts';

const sockets: Socket[] = [];
let listening: uWS.us_listen_socket | undefined;
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  if (listening !== undefined) uWS.us_listen_socket_close(listening);
});

const serve = async (options: Pick<RouteOptions, 'decide' | 'onAnswer'>): Promise<number> => {
  const app = uWS.App();
  route(app, 'post', '/', {
    maxBodyBytes: 1_000,
    requestTimeoutMs: 1_000,
    nowMs: () => performance.now(),
    mayKeep: () => true,
    onReleased: () => undefined,
    refuse: () => ({ status: 500, headers: {}, body: '' }),
    ...options,
  });
  listening = await new Promise((resolve) => app.listen('127.0.0.1', 0, (socket) => resolve(socket || undefined)));
  return uWS.us_socket_local_port(listening!);
};

const open = async (port: number): Promise<Socket> => {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  await once(socket, 'connect');
  return socket;
};

const DECISIONS: readonly { readonly name: string; readonly decision: HeadDecision }[] = [
  {
    name: 'answers that are promised',
    decision: { kind: 'body', handle: (body) => Promise.resolve({ status: 200, headers: {}, body }) },
  },
  {
    name: 'refusals of requests with a body',
    decision: { kind: 'answer', answer: { status: 429, headers: {}, body: '' } },
  },
];

describe.each(DECISIONS)('$name', ({ decision }) => {
  it('leave after all requests that can be read have been, so that no publisher keeps the loop from turning', async () => {
    const events: string[] = [];
    const port = await serve({
      decide() {
        events.push('read');
        return decision;
      },
      onAnswer: () => void events.push('answered'),
    });
    const clients = [await open(port), await open(port), await open(port)];
    const answers = Promise.all(clients.map((client) => once(client, 'data')));
    // All can be read before the loop looks: it has not turned since the first was written.
    for (const client of clients) client.write('POST / HTTP/1.1\r\nHost: weir\r\nContent-Length: 2\r\n\r\nhi');
    await answers;
    expect(events).toEqual(['read', 'read', 'read', 'answered', 'answered', 'answered']);
  });
});
