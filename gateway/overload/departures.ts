// Connections that were asked to move: told by `reconnect`, waited for, and ended when their time is over.
import { closeCodes } from '../../protocol/codes.ts';
import type { MoveReason } from '../../protocol/pushes.ts';
import type { Clock } from '../clock.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { Connection } from '../session/connection.ts';
import type { MoveTimes } from './spread.ts';

/** How much later than its deadline a connection may be ended, ms. */
const SWEEP_MS = 250;

/** What moving needs of a connection. */
export type Movable = Pick<Connection, 'state' | 'departure' | 'agesAtMs' | 'send' | 'close'>;

export interface Departures<T extends Movable = Movable> {
  /** Tells the client. A later call replaces an earlier one. */
  ask(connection: T, times: MoveTimes, reason: MoveReason): void;
  /** The connection closed, by whatever side. */
  handleClosed(connection: T): void;
  /** Connections asked for this reason that are still there and have time left. */
  count(reason: MoveReason): number;
  readonly size: number;
  close(): void;
}

/**
 * Why an overdue connection is ended; undefined: it may stay. One whose session went on to another connection never stays,
 * and never gets a code that forbids to reconnect: its client may not have finished.
 */
const endOf = (reason: MoveReason, handedOver: boolean): { code: number; reason: string } | undefined => {
  if (reason === 'drain') return { code: closeCodes.restart.code, reason: closeCodes.restart.name };
  return reason === 'max_age' || handedOver ? { code: closeCodes.closed.code, reason } : undefined;
};

export interface DeparturesOptions<T extends Movable> {
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  /** What goes with the client is to be as new as possible where it goes. */
  readonly onAsked: (connection: T) => void;
}

export const createDepartures = <T extends Movable>(options: DeparturesOptions<T>): Departures<T> => {
  const { clock, metrics, onAsked } = options;
  const leaving = new Set<T>();
  let timer: NodeJS.Timeout | undefined;

  const forget = (connection: T): void => {
    leaving.delete(connection);
    if (leaving.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };

  const sweep = (): void => {
    const nowMs = clock.monotonicMs();
    for (const connection of [...leaving]) {
      const { departure } = connection;
      if (departure === null || departure.deadlineMs > nowMs) continue;
      forget(connection);
      connection.departure = null;
      const end = endOf(departure.reason, departure.handedOver);
      if (end === undefined) continue;
      metrics.count('weir_moves_overdue_total', { reason: departure.reason });
      connection.close(end.code, end.reason);
    }
  };

  return {
    ask(connection, times, reason) {
      const handedOver = connection.departure?.handedOver ?? false;
      connection.departure = { reason, deadlineMs: clock.monotonicMs() + times.withinMs, handedOver };
      leaving.add(connection);
      timer ??= setInterval(sweep, SWEEP_MS);
      metrics.count('weir_moves_asked_total', { reason });
      connection.send({ type: 'reconnect', ...times, reason });
      onAsked(connection);
    },
    handleClosed: forget,
    count(reason) {
      let count = 0;
      for (const { departure } of leaving) if (departure?.reason === reason) count++;
      return count;
    },
    get size() {
      return leaving.size;
    },
    close() {
      clearInterval(timer);
      leaving.clear();
    },
  };
};
