// A token bucket whose whole state is one number: when it will be full again (GCRA, ITU-T I.371).
//
// Exact over any time: what was taken is never rounded to windows, so the sustained rate is the configured one and not
// only the burst. Taking is two comparisons and an addition.
import type { Rate } from './rate.ts';

/** A rate, prepared for `take`. */
export interface BucketShape {
  /** Time one token takes to come back, ms. */
  readonly tokenMs: number;
  /** Time an empty bucket takes to fill, ms. */
  readonly fullMs: number;
}

export const bucketShapeOf = ({ count, perMs }: Rate): BucketShape => ({ tokenMs: perMs / count, fullMs: perMs });

/** Returned by `take` in place of the new state. */
export const REFUSED = -1;
/** Sums of fractions of a millisecond may be off by less than this, ms. */
const ROUNDING_MS = 1e-3;

/** A cost above the capacity needs a full bucket and leaves a debt: nothing is refused for ever. */
const neededMs = ({ tokenMs, fullMs }: BucketShape, cost: number): number => Math.min(cost * tokenMs, fullMs);

/**
 * `fullAtMs` is the state (0: full), `nowMs` monotonic. Returns the state after taking `cost` tokens, or `REFUSED`, which
 * leaves the state as it was.
 */
export const take = (shape: BucketShape, fullAtMs: number, nowMs: number, cost: number): number => {
  const fromMs = fullAtMs > nowMs ? fullAtMs : nowMs;
  if (fromMs - nowMs + neededMs(shape, cost) > shape.fullMs + ROUNDING_MS) return REFUSED;
  return fromMs + cost * shape.tokenMs;
};

/** The moment from which `cost` would be taken, if nobody else took meanwhile. */
export const availableAtMs = (shape: BucketShape, fullAtMs: number, cost: number): number =>
  fullAtMs + neededMs(shape, cost) - shape.fullMs;

/**
 * The moment to name to one that was refused: each gets the place behind the one refused before it, so that those who
 * wait as told come back at the rate and not all at once. `lastSlotMs` is what was returned last.
 */
export const nextSlotMs = (
  shape: BucketShape,
  state: { readonly fullAtMs: number; readonly lastSlotMs: number },
  nowMs: number,
  cost: number,
): number => {
  const firstMs = Math.max(nowMs, availableAtMs(shape, state.fullAtMs, cost));
  const slotMs = Math.max(firstMs, state.lastSlotMs + neededMs(shape, cost));
  // Who refuses to wait pushes the places away for itself alone, and no further than a full bucket.
  return Math.min(slotMs, nowMs + shape.fullMs);
};

export interface TokenBucket {
  /** 0 when taken; else how long to wait, ms, at least 1. */
  take(nowMs: number, cost: number): number;
  /** Whether nothing is owed: a new bucket would be the same. */
  isFull(nowMs: number): boolean;
}

export const createTokenBucket = (rate: Rate): TokenBucket => {
  const shape = bucketShapeOf(rate);
  let fullAtMs = 0;
  let lastSlotMs = 0;
  return {
    take(nowMs, cost) {
      const taken = take(shape, fullAtMs, nowMs, cost);
      if (taken !== REFUSED) {
        fullAtMs = taken;
        return 0;
      }
      lastSlotMs = nextSlotMs(shape, { fullAtMs, lastSlotMs }, nowMs, cost);
      return waitMs(lastSlotMs, nowMs);
    },
    isFull: (nowMs) => fullAtMs <= nowMs,
  };
};

/** Whole milliseconds until then, at least 1. */
export const waitMs = (atMs: number, nowMs: number): number => Math.max(1, Math.ceil(atMs - nowMs));
