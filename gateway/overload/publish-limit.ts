// How many publications of one kind a node takes while it sheds: as many as leave its signals just below their thresholds.
//
// Refusing all would free the node at once and let everything in again a moment later. So the rate falls by a tenth while a
// signal presses and creeps up while none does: it settles where the node is full and not late. Pure: times are passed in.

/** Share of the thresholds from which the rate no longer rises: it shall settle below them, not swing through them. */
const RISES_BELOW = 0.97;
const FALL = 0.9;
const RISE = 1.02;
/** Part of a new sample in the measured rate. */
const WEIGHT_OF_SAMPLE = 0.3;
/** What is let through whatever happens, publications per second: else nothing would tell that the pressure is over. */
const MIN_RATE = 10;
/** Publications may come in bursts of this long at the rate, ms. */
const BURST_MS = 100;

export interface PublishLimit {
  /** Whether one more may come; asked before its body is read. */
  admits(): boolean;
  /** So many were taken. */
  handleTaken(count: number): void;
  /** Begins to limit, at nine tenths of what was taken lately; nothing while it limits already. */
  engage(): void;
  release(): void;
  /**
   * Closes a sample of `elapsedMs`.
   * @param pressure the highest share of the signals; from 1 on the rate falls
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
  let taken = 0;
  let refused = 0;
  let refusedBefore = 0;
  let takenPerSecond = 0;

  return {
    admits() {
      if (rate === Infinity || tokens > 0) return true;
      refused++;
      return false;
    },
    handleTaken(count) {
      taken += count;
      // May go below nothing: how many a request brings is known only when it was read.
      tokens -= count;
    },
    engage() {
      if (rate !== Infinity) return;
      rate = Math.max(MIN_RATE, takenPerSecond * FALL);
      tokens = 0;
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
      if (pressure >= 1) rate = Math.max(MIN_RATE, rate * FALL);
      // One that nobody reaches stays: it would only have to fall again from somewhere far up.
      else if (pressure < RISES_BELOW && mayRise && refusedBefore > 0) rate *= RISE;
      tokens = Math.min(tokens + (rate * elapsedMs) / 1000, Math.max(1, (rate * BURST_MS) / 1000));
    },
    get refusing() {
      return refused + refusedBefore > 0;
    },
    get rate() {
      return rate;
    },
  };
};
