// Puts real HTTP servers behind a real HAProxy, for tests of the balancer that need no gateway.
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import {
  type HaproxyProcess,
  type LocalHaproxyOptions,
  startHaproxy,
} from '../../loadbalancer/cluster/haproxy-process.ts';
import { CLIENT_BACKEND } from '../../loadbalancer/haproxy-options.ts';
import { waitFor } from './wait-for.ts';

/** What stands behind HAProxy here: an HTTP server that answers health as told and names itself. */
export interface Upstream {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** What it answers at /health/accepting. */
  health: number;
  /** WebSockets it serves. */
  sockets(): number;
  /** Requests it answered, health checks apart. */
  readonly requests: { path: string; headers: IncomingHttpHeaders }[];
  /** Cuts everything and stops listening. */
  die(): Promise<void>;
}

const closers: (() => Promise<void>)[] = [];

/** Runs `close` when the test is over, the last one first. */
export function closeAfterTest(close: () => Promise<void>): void {
  closers.push(close);
}

/** For `afterEach`: stops everything the functions of this file started. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
}

/** On a free port of 127.0.0.1 unless told where. */
export async function startUpstream(name: string, at = { host: '127.0.0.1', port: 0 }): Promise<Upstream> {
  const sockets = new WebSocketServer({ noServer: true });
  const requests: Upstream['requests'] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    if (path === '/health/accepting') {
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
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.host, resolve);
  });
  const upstream: Upstream = {
    name,
    host: at.host,
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

/** An HAProxy for upstreams, filled with none yet. */
export async function startEmptyHaproxy(options: LocalHaproxyOptions = {}): Promise<HaproxyProcess> {
  const haproxy = await startHaproxy({ ...options, config: { checkIntervalMs: 100, threads: 1, ...options.config } });
  closers.push(haproxy.stop);
  return haproxy;
}

export async function startBalanced(count: number, options: LocalHaproxyOptions = {}) {
  const upstreams = await Promise.all(Array.from({ length: count }, (_, i) => startUpstream(`up${i + 1}`)));
  const haproxy = await startEmptyHaproxy(options);
  await haproxy.setNodes(upstreams);
  return { haproxy, upstreams };
}

export async function openSocket(haproxy: HaproxyProcess, headers: Record<string, string> = {}): Promise<WebSocket> {
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

export const openSockets = async (haproxy: HaproxyProcess, count: number): Promise<WebSocket[]> => {
  const sockets: WebSocket[] = [];
  for (let i = 0; i < count; i += 1) sockets.push(await openSocket(haproxy));
  return sockets;
};

/** Resolves once HAProxy says of this node what `state` names, in the backend of clients. */
export async function nodeIs(
  haproxy: HaproxyProcess,
  node: Upstream,
  state: 'up' | 'down' | 'draining',
): Promise<void> {
  await waitFor(
    async () => {
      const slots = await haproxy.runtime.slots(CLIENT_BACKEND);
      return slots.some((slot) => slot.port === node.port && slot.operational === state);
    },
    { description: `${node.name} to be ${state}` },
  );
}
