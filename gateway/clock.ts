// Time and identifiers as injected values, so that every timer and id can be tested without waiting.
import { randomFillSync } from 'node:crypto';

export interface Clock {
  /** Unix time, ms. */
  nowMs(): number;
  /** Monotonic time for durations, ms with fractions. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

export interface IdSource {
  /** Unguessable, URL-safe, 22 characters (128 bits). */
  randomId(): string;
}

const POOL_IDS = 256;
const ID_BYTES = 16;

/** Draws entropy for many ids at once: one system call per connection would show in the accept rate. */
export const createRandomIds = (): IdSource => {
  const pool = Buffer.allocUnsafe(POOL_IDS * ID_BYTES);
  let next = pool.length;
  return {
    randomId() {
      if (next === pool.length) {
        randomFillSync(pool);
        next = 0;
      }
      const id = pool.toString('base64url', next, next + ID_BYTES);
      next += ID_BYTES;
      return id;
    },
  };
};
