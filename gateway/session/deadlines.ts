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
  /** Ordered by deadline, because all have the same length. */
  let queue: { item: T; atMs: number }[] = [];
  let timer: NodeJS.Timeout | undefined;

  const sweep = (): void => {
    const nowMs = clock.monotonicMs();
    const firstLater = queue.findIndex((entry) => entry.atMs > nowMs);
    const expired = firstLater === -1 ? queue : queue.slice(0, firstLater);
    queue = firstLater === -1 ? [] : queue.slice(firstLater);
    for (const { item } of expired) if (isDue(item)) onExpired(item);
    if (queue.length === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };

  return {
    add(item) {
      queue.push({ item, atMs: clock.monotonicMs() + lengthMs });
      timer ??= setInterval(sweep, GRANULARITY_MS);
    },
    close() {
      clearInterval(timer);
      timer = undefined;
      queue = [];
    },
  };
};
