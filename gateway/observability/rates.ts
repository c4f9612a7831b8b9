// Means per second of the hot counters over the last interval, for statistics.
import type { Rates } from '../../protocol/http.ts';
import type { Clock } from '../clock.ts';

export interface RateCounts {
  readonly publications: number;
  readonly deliveries: number;
  readonly connects: number;
}

export interface RateMeter {
  readonly rates: Rates;
  /** Closes the interval; the caller repeats it, about once a second. */
  sample(): void;
}

export const createRateMeter = (clock: Clock, read: () => RateCounts): RateMeter => {
  let previous = read();
  let previousMs = clock.monotonicMs();
  let rates: Rates = { publicationsPerSecond: 0, deliveriesPerSecond: 0, connectsPerSecond: 0 };
  return {
    get rates() {
      return rates;
    },
    sample() {
      const current = read();
      const nowMs = clock.monotonicMs();
      const perSecond = (count: number): number => Math.round((count * 10_000) / Math.max(1, nowMs - previousMs)) / 10;
      rates = {
        publicationsPerSecond: perSecond(current.publications - previous.publications),
        deliveriesPerSecond: perSecond(current.deliveries - previous.deliveries),
        connectsPerSecond: perSecond(current.connects - previous.connects),
      };
      previous = current;
      previousMs = nowMs;
    },
  };
};
