// How many publications may be under way at once, so that none of them waits long. Pure: samples are passed in.
//
// A full loop takes in whatever arrives and answers it later and later. What is under way is the rate times what each takes,
// so when publications take too long, the bound is what the node completes in the time they may take. It follows what the
// node can do by itself, within two samples: with more than a few ms of work waiting the loop never runs dry, so where the
// loop is what makes them wait, the bound decides how long publications take and not how many there are per second.

export type PublishSource = 'http' | 'client';

/** Below this share of busy time the loop does not make anything wait: what publications take then is the broker's. */
const BUSY = 0.8;
/** Part of a new sample in what the broker takes by itself. */
const WEIGHT_OF_SAMPLE = 0.3;
/** What one sample changes the bound by at most. */
const CHANGE = { from: 0.5, to: 1.5 } as const;
/** Never fewer: so many take a loop a few ms, and a sample of fewer tells nothing. */
const MIN_BOUND = 256;
/** Of the bound, up to where all under way together may fill it before this kind is refused: clients before servers. */
const SHARE = { client: 0.5, http: 1 } as const;
/** Of the bound, what this kind may have under way whatever the other has. */
const OWN = { client: 1 / 16, http: 0.5 } as const;
/** Samples at the lowest bound after which what publications take is the broker's. */
const STUCK_SAMPLES = 5;
/** Samples without a refusal after which nothing is bounded any more. */
const CALM_SAMPLES = 10;
/**
 * The time they may take follows how late the loop is: shorter the later it is than this part of the threshold of `lag`, longer
 * while it is less late, by so much per sample. While there is a bound the goal is far lower, because more under way brings no
 * more per second then, and what is under way when the machine falters has to be waited for by all that comes after.
 */
const ALLOWED = { goal: { unbounded: 0.5, bounded: 0.1 }, gain: 0.5, fall: 0.7, rise: 1.05, leastMs: 10 } as const;

/** What happened to the node since the sample before. */
export interface BoundSample {
  readonly elapsedMs: number;
  /** Share of the time in which the loop had work, 0 to 1. */
  readonly busy: number;
  /** How late the loop is, as a share of the threshold of `lag`. */
  readonly lag: number;
  /** Whether the rate of a rung refused some of them before they were counted here. */
  readonly isLimited: boolean;
}

export interface PublishBound {
  /** Whether one more may come. Counts the refusal. */
  admits(source: PublishSource): boolean;
  /** One was refused because this turn of the loop has taken enough of them. */
  handleRefused(source: PublishSource): void;
  handleTaken(source: PublishSource): void;
  /** One is over: confirmed after so long, ms, or failed. */
  handleOver(source: PublishSource, durationMs: number | undefined): void;
  sample(sample: BoundSample): void;
  /** Whether somebody of that kind was refused since the sample before the last. */
  refusing(source: PublishSource): boolean;
  /** Whether there is a bound. */
  readonly isBounded: boolean;
}

/** @param longestMs what publications may take beyond what the broker takes by itself; 0: however long they like */
export const createPublishBound = (longestMs: number): PublishBound => {
  let bound = Infinity;
  const underWay = { client: 0, http: 0 };
  let done = 0;
  let doneMs = 0;
  /** What the broker takes while the loop has time, ms. */
  let brokerMs = 0;
  let allowedMs = longestMs;
  let calmSamples = 0;
  let stuckSamples = 0;
  const refused = { client: 0, http: 0 };
  let refusedBefore = { ...refused };

  const adapt = ({ elapsedMs, busy, isLimited }: BoundSample, isReached: boolean): void => {
    if (calmSamples >= CALM_SAMPLES) bound = Infinity;
    if (done === 0) return;
    const meanMs = doneMs / done;
    // A broker does not take longer than what it took, busy or not.
    if (busy < BUSY || meanMs < brokerMs) brokerMs += (meanMs - brokerMs) * WEIGHT_OF_SAMPLE;
    stuckSamples = bound === MIN_BOUND && meanMs > brokerMs + allowedMs ? stuckSamples + 1 : 0;
    // Nor is it the loop that makes so few wait so long.
    if (stuckSamples > STUCK_SAMPLES) brokerMs = meanMs;
    const mayTakeMs = brokerMs + allowedMs;
    const completed = Math.max(MIN_BOUND, (done / elapsedMs) * mayTakeMs);
    if (bound === Infinity) {
      if (busy >= BUSY && meanMs > mayTakeMs) bound = completed;
      return;
    }
    // What is over began a while ago, under another bound: following all the way, the bound would swing.
    const change = Math.min(CHANGE.to, Math.max(CHANGE.from, Math.sqrt(mayTakeMs / meanMs)));
    // One that nobody reaches does not rise: it would only have to fall again from somewhere far up.
    if (change < 1 || isReached) bound = Math.max(MIN_BOUND, bound * change);
    // While a rate keeps the node just full nobody reaches it, and the node would falter with the bound of a better moment.
    else if (isLimited) bound = Math.min(bound, completed);
  };

  return {
    admits(source) {
      if (underWay.client + underWay.http < bound * SHARE[source] || underWay[source] < bound * OWN[source])
        return true;
      refused[source]++;
      return false;
    },
    handleRefused(source) {
      refused[source]++;
    },
    handleTaken(source) {
      underWay[source]++;
    },
    handleOver(source, durationMs) {
      underWay[source]--;
      if (durationMs === undefined) return;
      done++;
      doneMs += durationMs;
    },
    sample(sample) {
      if (longestMs === 0) return;
      const { lag, isLimited } = sample;
      const isReached = refused.client + refused.http > 0;
      // A rate feels its way up until it is too high: that is not the moment to be without a bound.
      calmSamples = isReached || isLimited ? 0 : calmSamples + 1;
      const goal = bound === Infinity ? ALLOWED.goal.unbounded : ALLOWED.goal.bounded;
      const change = 1 + (1 - lag / goal) * ALLOWED.gain;
      const changedMs = allowedMs * Math.min(ALLOWED.rise, Math.max(ALLOWED.fall, change));
      allowedMs = Math.min(longestMs, Math.max(ALLOWED.leastMs, changedMs));
      adapt(sample, isReached);
      done = 0;
      doneMs = 0;
      refusedBefore = { ...refused };
      refused.client = 0;
      refused.http = 0;
    },
    refusing: (source) => refused[source] + refusedBefore[source] > 0,
    get isBounded() {
      return bound !== Infinity;
    },
  };
};
