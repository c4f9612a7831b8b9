// Asks idle connections to leave a node that is overloaded: those that subscribe to nothing and have been silent for a while.
import type { Clock } from '../clock.ts';
import type { Connection } from '../session/connection.ts';
import { type MoveTimes, timesAt, windowFor } from './spread.ts';

export interface IdleMovingOptions {
  readonly connections: Iterable<Connection> & { readonly size: number };
  readonly clock: Clock;
  /** Silence from which a connection is idle, ms. */
  readonly idleMs: number;
  readonly moveTimeoutMs: number;
  readonly movesPerSecond: number;
  /** Asks a connection to move. */
  readonly onIdle: (connection: Connection, times: MoveTimes) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface IdleMoving {
  /** Looks at the next connections; repeated about ten times a second. Returns how many were asked to leave. */
  ask(): number;
}

/** Connections looked at in one call: all of 50 000 within some seconds, at a cost nobody notices. */
const VISITS = 1000;
/** Relief that comes later than this is none, ms. */
const MAX_WINDOW_MS = 30_000;

export const createIdleMoving = (options: IdleMovingOptions): IdleMoving => {
  const { connections, clock, idleMs, moveTimeoutMs, movesPerSecond, onIdle, random } = options;
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
        const next = rest.next();
        if (next.done === true) {
          rest = connections[Symbol.iterator]();
          break;
        }
        const connection = next.value;
        if (!isIdle(connection, nowMs) || asked.has(connection)) continue;
        asked.add(connection);
        count++;
        const windowMs = windowFor(connections.size, movesPerSecond, MAX_WINDOW_MS);
        onIdle(connection, timesAt(0, { count: 1, noticeMs: 0, windowMs, moveTimeoutMs }, random()));
      }
      return count;
    },
  };
};
