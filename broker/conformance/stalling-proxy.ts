// A TCP proxy for tests that can swallow everything without closing anything: a link that went dark.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

/** Of what a client has sent first, where its mark is looked for. */
const MARKED_CHARACTERS = 4_096;

export interface StallingProxy extends AsyncDisposable {
  readonly port: number;
  /** From now on no byte passes in either direction, on open and new connections; with a mark only on those whose client has sent it. */
  stall(mark?: string): void;
  /** New connections pass again. What was swallowed stays lost, so connections of before stay dark. */
  heal(): void;
}

export const startStallingProxy = async (targetPort: number): Promise<StallingProxy> => {
  // '' is in everything.
  let stalledMark: string | undefined;
  const sockets = new Set<Socket>();
  const track = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    track(client);
    const upstream = connect({ host: '127.0.0.1', port: targetPort });
    track(upstream);
    let dark = stalledMark === '';
    let sent = '';
    client.on('data', (chunk: Buffer) => {
      // A client names itself in its first commands.
      if (sent.length < MARKED_CHARACTERS) sent += chunk.toString('latin1');
    });
    const relay = (from: Socket, to: Socket): void => {
      from.on('data', (chunk) => {
        dark ||= stalledMark !== undefined && sent.includes(stalledMark);
        if (!dark) to.write(chunk);
      });
      from.on('close', () => to.destroy());
    };
    relay(client, upstream);
    relay(upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    stall(mark = '') {
      stalledMark = mark;
    },
    heal() {
      stalledMark = undefined;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
};
