// Stands between nodes and Redis, and takes pub/sub messages out of the answers on demand: pings and confirmations go on.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface MutingProxy extends AsyncDisposable {
  readonly port: number;
  /** Messages taken out so far. */
  muted(): number;
  /** From now on no pub/sub message passes, on any connection. */
  mute(): void;
  /** From now on nothing comes back on connections that subscribed, new ones included, until `heal`; nothing is closed. */
  silence(): void;
  heal(): void;
}

const lineEnd = (buffer: Buffer, from: number): number => buffer.indexOf('\r\n', from);

/** The end of the RESP2 value that begins at `at`; -1 while it is incomplete. */
const endOfValue = (buffer: Buffer, at: number): number => {
  const end = lineEnd(buffer, at);
  if (end === -1) return -1;
  const count = Number(buffer.toString('latin1', at + 1, end));
  const kind = String.fromCharCode(buffer[at] ?? 0);
  if (kind === '$') {
    const next = end + 2 + (count < 0 ? 0 : count + 2);
    return next > buffer.length ? -1 : next;
  }
  let next = end + 2;
  if (kind === '*') for (let index = 0; index < count && next !== -1; index += 1) next = endOfValue(buffer, next);
  return next;
};

/** Of classic and of sharded pub/sub. */
const MESSAGES = ['*3\r\n$7\r\nmessage\r\n', '*3\r\n$8\r\nsmessage\r\n'].map((text) => Buffer.from(text));
const isMessage = (value: Buffer): boolean => MESSAGES.some((head) => value.subarray(0, head.length).equals(head));

/** Passes whole values only, so that what is taken out never leaves a part behind. */
const passWithoutMessages = (
  from: Socket,
  to: Socket,
  isMuted: (value: Buffer) => boolean,
  onMuted: () => void,
): void => {
  let rest = Buffer.alloc(0);
  from.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let end = endOfValue(rest, 0); rest.length > 0 && end !== -1; end = endOfValue(rest, 0)) {
      const value = rest.subarray(0, end);
      rest = rest.subarray(end);
      if (isMuted(value)) onMuted();
      else to.write(value);
    }
  });
};

/** Listens on a free port of 127.0.0.1 and passes every connection on to the Redis on `port`. */
export const startMutingProxy = async (port: number): Promise<MutingProxy> => {
  const sockets = new Set<Socket>();
  let isMuted = false;
  let isSilent = false;
  /** Redis' side of connections that subscribed. */
  const subscribed = new Set<Socket>();
  let muted = 0;
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port, noDelay: true });
    near.on('data', (chunk) => {
      if (!/\r\ns?subscribe\r\n/.test(chunk.toString('latin1'))) return;
      subscribed.add(far);
      if (isSilent) far.pause();
    });
    near.pipe(far);
    passWithoutMessages(
      far,
      near,
      (value) => isMuted && isMessage(value),
      () => (muted += 1),
    );
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        subscribed.delete(socket);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    muted: () => muted,
    mute() {
      isMuted = true;
    },
    silence() {
      isSilent = true;
      for (const socket of subscribed) socket.pause();
    },
    heal() {
      isMuted = isSilent = false;
      for (const socket of subscribed) socket.resume();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};
