// How long a flush may wait for more publications.
//
// The cost of fan-out is per write to a socket (2-6 us), hardly per message, so waiting turns many flushes into one. Two
// things ask for it. *Load*: the loop is busy or late, and flushes are part of it. *Economy*: one flush alone is expensive
// and the next publication is near, so that two share the price of one even while there is time. Neither may cost what it
// does not bring: nothing waits where no publication is expected before the wait and the flush end, a wait for the sake of
// economy ends with the last publication that was expected, and what a flush takes is taken off the wait, down to nothing:
// while a long flush is sent, the next one gathers anyway.

/** What the fan-out of a node did in a while, per ms of it. */
export interface FlushSample {
  /** What the loop used of a core for work that cannot wait, catch-up apart: 0 to 1. */
  readonly busy: number;
  /** Mean delay of the event loop, ms. */
  readonly lagMs: number;
  /** Share of the time that flushes of live messages took, 0 to 1. */
  readonly flushing: number;
  readonly flushes: number;
  /** Publications that reached the node for its subscribers. */
  readonly publications: number;
  /** Messages to sockets, and the frames they went in. */
  readonly deliveries: number;
  readonly frames: number;
}

/** Below this share of busy time the load asks for nothing; from the other on for all. */
const BUSY = { from: 0.6, full: 0.95 } as const;
/** The same for the delay of the loop, ms: a few are the slices of a large flush, 50 is a loop that does not keep up. */
const LAG_MS = { from: 10, full: 50 } as const;
/** The same for the share of flushes: what does not cost cannot be saved. */
const FLUSHING = { from: 0.02, full: 0.1 } as const;
/** For economy: what flushes would take of the time, did every publication have its own. */
const UNMERGED = { from: 0.05, full: 0.15 } as const;
/** For economy: what the flush of one publication takes, ms. Many small channels cost little each, and wait for nothing. */
const FLUSH_MS = { from: 0.5, full: 1.5 } as const;
/** Economy asks for this part of the longest wait, and for as much more as the next publication takes to come. */
const ECONOMY = 0.6;
/** Of the configured bound, what publications need on their way to the flush; economy leaves it to them, so that all of it stays within the bound. */
const ON_THE_WAY = 0.1;
/** What a publication may be later than the mean distance of two. When it is not, the wait of a channel with a log ends with it. */
const LATENESS = 1.3;
/** How far into a flush a publication still joins it for most. */
const JOINS = 0.5;

const ramp = (value: number, { from, full }: { readonly from: number; readonly full: number }): number =>
  Math.min(1, Math.max(0, (value - from) / (full - from)));

const ratio = (of: number, to: number): number => (to > 0 ? of / to : 0);

/** How long a flush waits, counted from the first publication that it will bring. */
export interface Wait {
  readonly ms: number;
  /** As soon as so many were gathered no further one is expected in time, and it leaves. Infinity: it waits to the end. */
  readonly publications: number;
}

export const NO_WAIT: Wait = { ms: 0, publications: Infinity };

/**
 * What a load asks for.
 * @param maxDelayMs configured upper bound, ms
 */
export const waitForLoad = (sample: FlushSample, maxDelayMs: number): Wait => {
  const { busy, lagMs, flushing, flushes, publications, deliveries, frames } = sample;
  const unmerged = flushing * ratio(deliveries, frames);
  const flushMs = ratio(flushing, flushes);
  const longestMs = Math.max(0, maxDelayMs - flushMs);
  const load = Math.max(ramp(busy, BUSY), ramp(lagMs, LAG_MS)) * ramp(flushing, FLUSHING);
  const economy = ramp(unmerged, UNMERGED) * ramp(ratio(unmerged, publications), FLUSH_MS);
  const untilNextMs = Math.min(longestMs - ON_THE_WAY * maxDelayMs, ratio(LATENESS, publications));
  const economicalMs = economy * Math.max(ECONOMY * longestMs, untilNextMs);
  const ms = Math.max(load * longestMs, economicalMs);
  // What ends before the next publication comes gathers nothing; what comes during the flush joins it for those not yet served.
  if ((ms + flushMs) * publications < 1) return NO_WAIT;
  const isEconomical = economicalMs === ms;
  return { ms, publications: isEconomical ? 1 + Math.floor((ms + JOINS * flushMs) * publications) : Infinity };
};

/**
 * The weight of a new sample. One of 100 ms holds a handful of flushes and says hardly more than whether the delay was on:
 * following it at once, the delay swings between nothing and all, which costs the latency of all and saves half of it.
 */
const FOLLOW = 0.2;

export interface Coalescing {
  take(sample: FlushSample): void;
  /** Of the next flush. */
  readonly wait: Wait;
}

/** @param maxDelayMs configured upper bound, ms */
export const createCoalescing = (maxDelayMs: number): Coalescing => {
  const smooth = { busy: 0, lagMs: 0, flushing: 0, flushes: 0, publications: 0, deliveries: 0, frames: 0 };
  const names = Object.keys(smooth) as (keyof FlushSample)[];
  let wait = NO_WAIT;
  return {
    take(sample) {
      for (const name of names) smooth[name] += FOLLOW * (sample[name] - smooth[name]);
      wait = waitForLoad(smooth, maxDelayMs);
    },
    get wait() {
      return wait;
    },
  };
};
