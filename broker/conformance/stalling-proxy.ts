// A TCP proxy for tests that can swallow everything without closing anything: a link that went dark.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

export interface StallingProxy extends AsyncDisposable {
  readonly port: number;
  /** From now on no byte passes in either direction, on open and new connections. */
  stall(): void;
  /** New connections pass again. What was swallowed stays lost, so connections of before stay dark. */
  heal(): void;
}

export const startStallingProxy = async (targetPort: number): Promise<StallingProxy> => {
  let stalled = false;
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
    let dark = stalled;
    const relay = (from: Socket, to: Socket): void => {
      from.on('data', (chunk) => {
        dark ||= stalled;
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
    stall() {
      stalled = true;
    },
    heal() {
      stalled = false;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
};
