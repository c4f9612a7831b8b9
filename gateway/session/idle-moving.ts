// Asks idle connections to leave a node that is overloaded: those that subscribe to nothing and have been silent for a while.
import type { Clock } from '../clock.ts';
import type { Connection } from './connection.ts';
import { spreadMove } from './spread.ts';

export interface IdleMovingOptions {
  readonly connections: Iterable<Connection> & { readonly size: number };
  readonly clock: Clock;
  /** Silence from which a connection is idle, ms. */
  readonly idleMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface IdleMoving {
  /** Looks at the next connections; repeated about ten times a second. Returns how many were asked to leave. */
  ask(): number;
}

/** Connections looked at in one call: all of 50 000 within some seconds, at a cost nobody notices. */
const VISITS = 1000;

export const createIdleMoving = ({ connections, clock, idleMs, random }: IdleMovingOptions): IdleMoving => {
  /** Each is asked once: one that does not know the push must not be sent it for ever. */
  const asked = new WeakSet<Connection>();
  let rest = connections[Symbol.iterator]();

  const isIdle = (connection: Connection, nowMs: number): boolean =>
    connection.state === 'connected' &&
    connection.subscriptions.size === 0 &&
    connection.pendingBytes === 0 &&
    nowMs - connection.heardAtMs >= idleMs;

  return {
    ask() {
      const nowMs = clock.monotonicMs();
      let count = 0;
      for (let visits = 0; visits < VISITS; visits++) {
        const { value: connection, done } = rest.next();
        if (done === true) {
          rest = connections[Symbol.iterator]();
          break;
        }
        if (!isIdle(connection, nowMs) || asked.has(connection)) continue;
        asked.add(connection);
        count++;
        connection.send({ type: 'reconnect', ...spreadMove(connections.size, random()), reason: 'overloaded' });
      }
      return count;
    },
  };
};
