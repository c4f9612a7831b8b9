// When the links of one node reconnect: after a growing, random delay, and at the same moments, so that none is back long before the others.

const BASE_MS = 50;
const CAP_MS = 2_000;

export interface ReconnectScheduleOptions {
  /** Monotonic, ms. */
  readonly nowMs?: () => number;
  /** In [0, 1). */
  readonly random?: () => number;
}

/** Milliseconds to wait before attempt 1, 2, … of one link. */
export type ReconnectSchedule = (attempt: number) => number;

/**
 * Half fixed, half random, doubling up to the cap: nodes that lost the same Redis do not return in step. A link joins the
 * moment another link of the node waits for, unless that is later than its own longest delay.
 */
export const createReconnectSchedule = (options: ReconnectScheduleOptions = {}): ReconnectSchedule => {
  const nowMs = options.nowMs ?? (() => performance.now());
  const random = options.random ?? Math.random;
  let nextAtMs = Number.NEGATIVE_INFINITY;
  return (attempt) => {
    const longestMs = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt - 1, 10));
    const remainingMs = Math.ceil(nextAtMs - nowMs());
    if (remainingMs > 0 && remainingMs <= longestMs) return remainingMs;
    const delayMs = Math.round((longestMs / 2) * (1 + random()));
    nextAtMs = nowMs() + delayMs;
    return delayMs;
  };
};
