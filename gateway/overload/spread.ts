// When each of many connections is to move, so that the nodes that take them are not hit all at once. Pure.

/** Also a few clients do not come in the same instant, ms. */
const MIN_WINDOW_MS = 500;

export interface MoveTimes {
  readonly afterMs: number;
  readonly withinMs: number;
}

/** Time in which `count` connections move when `perSecond` may, at most `maxMs`. */
export const windowFor = (count: number, perSecond: number, maxMs = Infinity): number =>
  Math.min(maxMs, Math.max(MIN_WINDOW_MS, (count / perSecond) * 1000));

export interface Spread {
  readonly count: number;
  /** Before which nobody moves, ms. */
  readonly noticeMs: number;
  /** In which all begin to move, ms. */
  readonly windowMs: number;
  /** From the earliest moment of a move to its latest: room to connect, resume and catch up, ms. */
  readonly moveTimeoutMs: number;
}

/**
 * Times of the connection at `index`, from 0. Each has a slot of its own in the window and a random place in the slot, so that
 * arrivals are flat without being in step. `random` is uniform in [0, 1).
 */
export const timesAt = (index: number, spread: Spread, random: number): MoveTimes => {
  const { count, noticeMs, windowMs, moveTimeoutMs } = spread;
  const afterMs = Math.floor(noticeMs + ((index + random) / Math.max(count, 1)) * windowMs);
  return { afterMs, withinMs: afterMs + moveTimeoutMs };
};
