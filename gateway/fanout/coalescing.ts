// How long a flush may wait for more publications: nothing while the loop has time, longer the busier and the later it is.
//
// The cost of fan-out is per flush to a socket (4-6 us), hardly per message, so waiting turns many flushes into one. The
// delay lowers the load, which lowers the delay, and the two settle. It waits for nothing where that would not help: when
// the loop is busy or late with other things than flushes, all that a delay does is to make messages late.

/** What the delay follows. */
export interface FlushLoad {
  /** What the loop used of a core for work that cannot wait, catch-up apart: 0 to 1. */
  readonly busy: number;
  /** Share of the time that flushes of live messages took, 0 to 1. */
  readonly flushing: number;
  /** Mean delay of the event loop, ms. */
  readonly lagMs: number;
}

/** Below this share of busy time a flush leaves at once; from the other on the full delay applies. */
const BUSY = { from: 0.6, full: 0.95 } as const;
/** The same for the delay of the loop, ms: a few are the slices of a large flush, 50 is a loop that does not keep up. */
const LAG_MS = { from: 10, full: 50 } as const;
/** The same for the share of flushes: what does not cost cannot be saved. */
const FLUSHING = { from: 0.02, full: 0.1 } as const;

const ramp = (value: number, { from, full }: { readonly from: number; readonly full: number }): number =>
  Math.min(1, Math.max(0, (value - from) / (full - from)));

/**
 * What a load asks for.
 * @param maxDelayMs configured upper bound, ms
 * @returns delay before a flush, ms
 */
export const delayForLoad = ({ busy, flushing, lagMs }: FlushLoad, maxDelayMs: number): number =>
  Math.max(ramp(busy, BUSY), ramp(lagMs, LAG_MS)) * ramp(flushing, FLUSHING) * maxDelayMs;

/**
 * How much of the way towards what a sample asks for the delay goes. A sample of 100 ms holds a handful of flushes and says
 * hardly more than whether the delay was on: following it at once, the delay swings between nothing and all, which costs
 * the latency of all and saves half of it.
 */
const FOLLOW = 0.2;

export interface Coalescing {
  /**
   * What a sample told.
   * @param perMs publications that reached the node for its subscribers, per ms
   */
  take(load: FlushLoad, perMs: number): void;
  /** Delay before the next flush, ms. */
  readonly delayMs: number;
}

/** @param maxDelayMs configured upper bound, ms */
export const createCoalescing = (maxDelayMs: number): Coalescing => {
  let asked = 0;
  let arriving = 0;
  return {
    take(load, perMs) {
      asked += FOLLOW * (delayForLoad(load, maxDelayMs) - asked);
      arriving += FOLLOW * (perMs - arriving);
    },
    get delayMs() {
      // What ends before the next publication comes gathers nothing.
      return asked * arriving < 1 ? 0 : asked;
    },
  };
};
