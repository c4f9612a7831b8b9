// How many publications of one kind a node takes while it sheds: as many as leave its signals just below their thresholds.
//
// Refusing all would free the node at once and let everything in again a moment later. So the rate follows the signals: down
// the further the highest is above the goal, up the further all are below. It settles where the node is full and not late,
// since near the goal its steps are small. Pure: times are passed in.

/** Share of the thresholds at which the rate shall settle: just below, so that the signals do not press. */
const GOAL = 0.98;
/** Part of the distance to the goal by which one sample changes the rate. */
const GAIN = 0.5;
/** What one sample changes at most. It falls faster than it rises: what came too much has to be waited for. */
const FALL = 0.8;
const RISE = 1.02;
/** The same on the way back to a rate that was found to be one the node can take. */
const RETURN = 1.1;
/**
 * How long a fall is given to show before the next, ms: the signals are means over 300 ms, and what had come before has to be worked off.
 * Falling as much with every sample, the rate would be far below what the node can take by the time the signals tell that it was enough.
 */
const SETTLE_MS = 200;
/** At which the rate begins, of what was taken, and to which it returns, of what was too much. */
const START = 0.9;
/** Part of a new sample in the measured rate. */
const WEIGHT_OF_SAMPLE = 0.3;
/** What is let through whatever happens, publications per second: else nothing would tell that the pressure is over. */
const MIN_RATE = 10;
/** Publications may come in bursts of this long at the rate, ms: as long as a turn of a full loop takes, not longer. */
const BURST_MS = 50;

export interface PublishLimit {
  /** Whether one more may come; asked before its body is read. `nowMs` is monotonic in all calls. */
  admits(nowMs: number): boolean;
  /** So many were taken. */
  handleTaken(count: number): void;
  /** Begins to limit, at nine tenths of what was taken lately; nothing while it limits already. */
  engage(nowMs: number): void;
  release(): void;
  /**
   * Closes a sample of `elapsedMs`.
   * @param pressure the highest share of the signals; the rate falls from 1 on and rises below the goal
   * @param mayRise false while those who come first are still being refused
   */
  sample(elapsedMs: number, pressure: number, mayRise: boolean): void;
  /** Whether somebody was refused since the sample before the last. */
  readonly refusing: boolean;
  /** Publications per second that are let through; Infinity while nothing is limited. */
  readonly rate: number;
}

export const createPublishLimit = (): PublishLimit => {
  let rate = Infinity;
  let tokens = 0;
  let filledAtMs = 0;
  let taken = 0;
  let refused = 0;
  let refusedBefore = 0;
  let takenPerSecond = 0;
  /** What the node was found to take: below it the rate returns fast, above it feels its way. */
  let known = 0;
  let sinceFallMs = 0;
  /** Whether the signals have pressed ever since the rate fell. */
  let falling = false;

  /** Evenly, not once per sample: else all would come at its beginning, and wait for one another. */
  const fill = (nowMs: number): void => {
    const more = (rate * (nowMs - filledAtMs)) / 1000;
    tokens = Math.min(tokens + more, Math.max(1, (rate * BURST_MS) / 1000));
    filledAtMs = nowMs;
  };

  return {
    admits(nowMs) {
      if (rate === Infinity) return true;
      fill(nowMs);
      if (tokens > 0) return true;
      refused++;
      return false;
    },
    handleTaken(count) {
      taken += count;
      // May go below nothing: how many a request brings is known only when it was read.
      tokens -= count;
    },
    engage(nowMs) {
      if (rate !== Infinity) return;
      rate = Math.max(MIN_RATE, takenPerSecond * START);
      known = rate;
      sinceFallMs = 0;
      falling = true;
      tokens = 0;
      filledAtMs = nowMs;
    },
    release() {
      rate = Infinity;
      refused = 0;
      refusedBefore = 0;
    },
    sample(elapsedMs, pressure, mayRise) {
      takenPerSecond += ((taken * 1000) / elapsedMs - takenPerSecond) * WEIGHT_OF_SAMPLE;
      taken = 0;
      refusedBefore = refused;
      refused = 0;
      if (rate === Infinity) return;
      sinceFallMs += elapsedMs;
      const change = 1 + (GOAL - pressure) * GAIN;
      if (pressure >= 1) {
        if (sinceFallMs < SETTLE_MS) return;
        sinceFallMs = 0;
        // Where it began to press, and not where the fall ends, is what the node cannot take.
        if (!falling) known = Math.max(MIN_RATE, rate * START);
        falling = true;
        rate = Math.max(MIN_RATE, rate * Math.max(FALL, change));
      } else if (pressure < GOAL) {
        falling = false;
        // One that nobody reaches does not rise: it would only have to fall again from somewhere far up.
        if (!mayRise || refusedBefore === 0) return;
        rate = rate < known ? Math.min(known, rate * Math.min(RETURN, change)) : rate * Math.min(RISE, change);
      }
      // Between the goal and the threshold it stays: a signal that does not follow the rate, as memory, must not wear it down.
    },
    get refusing() {
      return refused + refusedBefore > 0;
    },
    get rate() {
      return rate;
    },
  };
};
