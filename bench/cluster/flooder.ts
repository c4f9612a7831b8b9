// A process of its own that floods a balancer from one address, in one way at a time and at a bounded rate.
import { connect, type Socket } from 'node:net';
import { upgradeRequest, webSocketFrame } from '../../tests/support/raw-socket.ts';

/** Sent by the parent: begin this flood, or stop and say what was done. */
export type FloodOrder = { readonly kind: FloodKind; readonly port: number } | 'stop';
export interface FloodReport {
  /** Requests, frames or connections written. */
  readonly sent: number;
  /** Answers that refuse: HTTP 4xx and 5xx, error replies, and connections that were ended. */
  readonly refused: number;
}

export const FLOOD_KINDS = ['slow heads', 'large heads', 'connections', 'subscriptions', 'publishes', 'bombs'] as const;
export type FloodKind = (typeof FLOOD_KINDS)[number];

/** Another address than that of the clients that keep the rules, so that limits per address can tell them apart. */
const OWN_ADDRESS = '127.0.0.66';
const TICK_MS = 100;
const TICKS_PER_SECOND = 1_000 / TICK_MS;

let sent = 0;
let refused = 0;
let stopFlood: () => void = () => undefined;

const open = (port: number, sockets: Set<Socket>, greeting: string | Uint8Array): Socket => {
  const socket = connect({ port, host: '127.0.0.1', localAddress: OWN_ADDRESS });
  sockets.add(socket);
  socket.on('data', (bytes) => {
    const text = bytes.toString('latin1');
    refused += text.match(/HTTP\/1\.1 [45]|"type":"error"/g)?.length ?? 0;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    if (sockets.delete(socket)) refused += 1;
  });
  socket.write(greeting);
  return socket;
};

const text = (payload: string, reserved = 0): Buffer => webSocketFrame({ opcode: 1, payload, reserved });
const commands = (count: number, one: (n: number) => object): Buffer =>
  text(JSON.stringify(Array.from({ length: count }, (_, n) => one(n))));

/** Keeps `count` upgraded sockets and writes on each of them, every tick. */
const onSockets =
  (count: number, writes: (tick: number, socket: Socket) => void) =>
  (port: number, sockets: Set<Socket>, tick: number): void => {
    while (sockets.size < count) open(port, sockets, upgradeRequest('/v1/ws'));
    for (const socket of sockets) writes(tick, socket);
  };

const write = (socket: Socket, bytes: Buffer): void => {
  // What the other side does not read is not written either: a flood has to be bounded somewhere.
  if (socket.connecting || socket.writableLength > 4 * 1024 * 1024) return;
  sent += 1;
  socket.write(bytes);
};

const largeHead = `GET /v1/ws HTTP/1.1\r\nHost: a\r\nX-Flood: ${'x'.repeat(64 * 1024)}\r\n\r\n`;
const bomb = text('x'.repeat(1024 * 1024));
const deflated = text('x'.repeat(10_000), 4);

const floods: Readonly<Record<FloodKind, (port: number, sockets: Set<Socket>, tick: number) => void>> = {
  'slow heads': (port, sockets) => {
    for (let n = 0; sockets.size < 500 && n < 50; n += 1) open(port, sockets, upgradeRequest('/v1/ws').slice(0, 60));
    for (const socket of sockets) write(socket, Buffer.from('x'));
  },
  'large heads': (port, sockets) => {
    for (let n = 0; n < 200 / TICKS_PER_SECOND; n += 1) {
      sent += 1;
      open(port, sockets, largeHead);
    }
  },
  connections: (port, sockets) => {
    for (let n = 0; n < 800 / TICKS_PER_SECOND; n += 1) {
      sent += 1;
      const socket = open(port, sockets, upgradeRequest('/v1/ws'));
      setTimeout(() => {
        sockets.delete(socket);
        socket.destroy();
      }, 1_000);
    }
  },
  subscriptions: onSockets(10, (tick, socket) => {
    const type = tick % 2 === 0 ? 'subscribe' : 'unsubscribe';
    write(
      socket,
      commands(64, (n) => ({ type, id: n + 1, channel: `flood-${(tick >> 1) % 50}-${n}` })),
    );
  }),
  publishes: onSockets(10, (_, socket) => {
    write(
      socket,
      commands(64, (n) => ({ type: 'publish', id: n + 1, channel: 'flood', data: 'x'.repeat(100) })),
    );
  }),
  bombs: onSockets(20, (tick, socket) => write(socket, tick % 2 === 0 ? bomb : deflated)),
};

const begin = ({ kind, port }: Exclude<FloodOrder, 'stop'>): void => {
  const sockets = new Set<Socket>();
  let tick = 0;
  const timer = setInterval(() => floods[kind](port, sockets, tick++), TICK_MS);
  stopFlood = () => {
    clearInterval(timer);
    const left = [...sockets];
    sockets.clear();
    for (const socket of left) socket.destroy();
  };
};

process.on('message', (order: FloodOrder) => {
  if (order !== 'stop') {
    begin(order);
    return;
  }
  stopFlood();
  const report: FloodReport = { sent, refused };
  sent = 0;
  refused = 0;
  process.send?.(report);
});
process.on('disconnect', () => process.exit(0));
