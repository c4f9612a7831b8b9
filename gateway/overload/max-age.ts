// Gives every connection a lifetime of its own, and asks it to move at its end.
import type { Clock } from '../clock.ts';
import type { Departures, Movable } from './departures.ts';
import { timesAt } from './spread.ts';

/** Connections that came together leave over a fifth of their age. */
const JITTER = 0.1;

export interface MaxAgeOptions {
  /** In the order in which they were opened. */
  readonly connections: Iterable<Movable>;
  readonly departures: Pick<Departures, 'ask'>;
  readonly settings: { readonly maxAgeMs: number; readonly movesPerSecond: number; readonly moveTimeoutMs: number };
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly clock: Clock;
}

export interface MaxAge {
  handleOpened(connection: Movable): void;
  /** Repeated about once a second while the node serves. */
  look(): void;
}

export const createMaxAge = ({ connections, departures, settings, random, clock }: MaxAgeOptions): MaxAge => {
  const { maxAgeMs, movesPerSecond, moveTimeoutMs } = settings;
  const jitterMs = maxAgeMs * JITTER;
  let lookedAtMs = clock.monotonicMs();

  return {
    handleOpened(connection) {
      if (maxAgeMs > 0)
        connection.agesAtMs = Math.round(clock.monotonicMs() + maxAgeMs + (2 * random() - 1) * jitterMs);
    },
    look() {
      const nowMs = clock.monotonicMs();
      const sinceMs = nowMs - lookedAtMs;
      lookedAtMs = nowMs;
      // Nobody is asked earlier than due, and after a pause of the loop no more than in its second.
      const count = Math.ceil((movesPerSecond * Math.min(sinceMs, 1000)) / 1000);
      const spread = { count, noticeMs: 0, windowMs: 1000, moveTimeoutMs };
      let index = 0;
      for (const connection of connections) {
        if (index === count) return;
        const { agesAtMs } = connection;
        // This one, and so every later one, has no age or was opened so late that none can be due.
        if (agesAtMs === null || agesAtMs - 2 * jitterMs > nowMs) return;
        if (agesAtMs > nowMs || connection.departure !== null || connection.state !== 'connected') continue;
        departures.ask(connection, timesAt(index++, spread, random()), 'max_age');
      }
    },
  };
};
