// Stands between two processes as a TCP proxy, and breaks their connections on demand.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface FaultProxy extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Connections open now, oldest first. */
  connections(): readonly ProxiedConnection[];
  /** Connections accepted since the start. */
  accepted(): number;
  /**
   * From now on no byte and no end of a connection passes, on those that exist and on new ones, and nothing is closed:
   * both sides see silence. What they send waits in the kernel's buffers.
   */
  blackhole(): void;
  /** Each chunk passes this much later, in both directions. 0 turns it off. */
  delay(delayMs: number): void;
  /** New connections are cut at once; those that exist stay. */
  refuse(): void;
  /** Ends blackhole, delay and refusal; what waited passes. */
  heal(): void;
  /** Cuts every connection with RST. */
  reset(): void;
  stop(): Promise<void>;
}

export interface ProxiedConnection {
  /** 1, 2, … in the order of arrival. */
  readonly number: number;
  /** Cuts both sides with RST. */
  kill(): void;
}

interface Faults {
  silent: boolean;
  refusing: boolean;
  delayMs: number;
}

/** Passes bytes one way, in order, whatever the delay becomes meanwhile. */
function pipe(from: Socket, to: Socket, faults: Faults): void {
  const delayed: (Buffer | 'end')[] = [];
  const pass = (item: Buffer | 'end'): void => {
    if (to.destroyed) return;
    if (item === 'end') to.end();
    else if (!to.write(item)) {
      // A slow receiver must slow the sender, else the proxy hides backpressure.
      from.pause();
      to.once('drain', () => {
        if (!faults.silent) from.resume();
      });
    }
  };
  const take = (item: Buffer | 'end'): void => {
    if (faults.delayMs === 0 && delayed.length === 0) {
      pass(item);
      return;
    }
    delayed.push(item);
    setTimeout(() => {
      pass(delayed.shift() ?? 'end');
    }, faults.delayMs);
  };
  from.on('data', take);
  from.on('end', () => {
    take('end');
  });
  from.on('close', (hadError) => {
    // In silence the other side does not learn of it; a cut connection is passed on as one.
    if (hadError && !faults.silent) to.resetAndDestroy();
  });
  from.on('error', () => undefined);
}

/** Listens on a free port of 127.0.0.1 and passes every connection on to `target`. */
export async function startFaultProxy(target: { host?: string; port: number }): Promise<FaultProxy> {
  const faults: Faults = { silent: false, refusing: false, delayMs: 0 };
  const pairs = new Map<
    number,
    { readonly sockets: readonly [Socket, Socket]; readonly connection: ProxiedConnection }
  >();
  let accepted = 0;

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    if (faults.refusing) {
      near.resetAndDestroy();
      return;
    }
    accepted += 1;
    const number = accepted;
    const far = connect({ host: target.host ?? '127.0.0.1', port: target.port, allowHalfOpen: true, noDelay: true });
    const kill = (): void => {
      near.resetAndDestroy();
      far.resetAndDestroy();
    };
    pairs.set(number, { sockets: [near, far], connection: { number, kill } });
    pipe(near, far, faults);
    pipe(far, near, faults);
    for (const socket of [near, far]) {
      if (faults.silent) socket.pause();
      socket.on('close', () => {
        if (near.closed && far.closed) pairs.delete(number);
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });

  const eachSocket = (action: (socket: Socket) => void): void => {
    for (const { sockets } of pairs.values()) sockets.forEach(action);
  };
  const reset = (): void => {
    for (const { connection } of pairs.values()) connection.kill();
  };
  const stop = async (): Promise<void> => {
    reset();
    if (!server.listening) return;
    await new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
    });
  };
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    connections: () => [...pairs.values()].map((pair) => pair.connection),
    accepted: () => accepted,
    blackhole: () => {
      faults.silent = true;
      eachSocket((socket) => socket.pause());
    },
    delay: (delayMs) => {
      faults.delayMs = delayMs;
    },
    refuse: () => {
      faults.refusing = true;
    },
    heal: () => {
      faults.silent = false;
      faults.refusing = false;
      faults.delayMs = 0;
      for (const { sockets, connection } of pairs.values()) {
        // One side went away unseen during the silence: the other learns it now.
        if (sockets.some((socket) => socket.destroyed)) connection.kill();
        else sockets.forEach((socket) => socket.resume());
      }
    },
    reset,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
