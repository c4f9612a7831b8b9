// Deadlines of equal length for many connections: a queue and one timer instead of a timer each.
import type { Clock } from '../clock.ts';

export interface Deadlines<T> {
  /** Starts the deadline of an item. */
  add(item: T): void;
  /** Ends the timer; nothing expires afterwards. */
  close(): void;
}

/** How much later than its deadline an item may expire, ms. */
const GRANULARITY_MS = 250;

/**
 * @param isDue asked when the deadline passed; an item that no longer waits is dropped silently
 * @param onExpired called once per item that still waits
 */
export const createDeadlines = <T>(options: {
  readonly clock: Clock;
  readonly lengthMs: number;
  readonly isDue: (item: T) => boolean;
  readonly onExpired: (item: T) => void;
}): Deadlines<T> => {
  const { clock, lengthMs, isDue, onExpired } = options;
  /** Ordered by deadline, because all have the same length. Two lists: an object for each entry is as much as a small connection. */
  let items: T[] = [];
  let deadlinesMs: number[] = [];
  let timer: NodeJS.Timeout | undefined;

  const sweep = (): void => {
    const nowMs = clock.monotonicMs();
    const firstLater = deadlinesMs.findIndex((atMs) => atMs > nowMs);
    const count = firstLater === -1 ? items.length : firstLater;
    if (count === 0) return;
    const expired = items.slice(0, count);
    items = items.slice(count);
    deadlinesMs = deadlinesMs.slice(count);
    for (const item of expired) if (isDue(item)) onExpired(item);
    if (items.length === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };

  return {
    add(item) {
      items.push(item);
      deadlinesMs.push(clock.monotonicMs() + lengthMs);
      timer ??= setInterval(sweep, GRANULARITY_MS);
    },
    close() {
      clearInterval(timer);
      timer = undefined;
      items = [];
      deadlinesMs = [];
    },
  };
};
