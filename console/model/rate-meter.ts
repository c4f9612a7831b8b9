// Events per second over the last few seconds, from counts in a ring of time slots.

export interface RateMeter {
  /** `nowMs` is monotonic. */
  add(nowMs: number, count?: number): void;
  /** Mean per second over the window, or since the first event when that is shorter (but not less than a second). */
  perSecond(nowMs: number): number;
}

const SLOT_MS = 250;
const SLOTS = 12;
const MIN_SPAN_MS = 1000;

/** A window of three seconds: short enough to follow a burst, long enough to be read. */
export const createRateMeter = (): RateMeter => {
  const counts = new Array<number>(SLOTS).fill(0);
  /** Number of the newest slot in use: `nowMs / SLOT_MS`. */
  let newest = -SLOTS;
  let startedMs: number | undefined;

  const advance = (nowMs: number): void => {
    const slot = Math.floor(nowMs / SLOT_MS);
    for (let stale = Math.max(newest + 1, slot - SLOTS + 1); stale <= slot; stale++) counts[stale % SLOTS] = 0;
    newest = Math.max(newest, slot);
  };

  return {
    add: (nowMs, count = 1) => {
      startedMs ??= nowMs;
      advance(nowMs);
      counts[newest % SLOTS]! += count;
    },
    perSecond: (nowMs) => {
      if (startedMs === undefined) return 0;
      advance(nowMs);
      const windowMs = nowMs - (newest - SLOTS + 1) * SLOT_MS;
      const spanMs = Math.max(MIN_SPAN_MS, Math.min(windowMs, nowMs - startedMs));
      return (counts.reduce((sum, count) => sum + count, 0) * 1000) / spanMs;
    },
  };
};
