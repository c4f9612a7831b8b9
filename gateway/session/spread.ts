// When each of many connections is to move, so that the nodes that take them are not hit all at once.

/** Handshakes a second that the others are trusted with. */
const MOVES_PER_SECOND = 1000;
/** Also a few clients do not come in the same instant, ms. */
const MIN_WINDOW_MS = 500;
/** From the earliest moment of a move to its latest: room to connect, resume and catch up, ms. */
const MOVE_TAKES_MS = 10_000;

export interface MoveTimes {
  readonly afterMs: number;
  readonly withinMs: number;
}

/** Times for one of `count` connections; `random` is uniform in [0, 1) and drawn for each. */
export const spreadMove = (count: number, random: number): MoveTimes => {
  const windowMs = Math.max(MIN_WINDOW_MS, (count / MOVES_PER_SECOND) * 1000);
  const afterMs = Math.floor(random * windowMs);
  return { afterMs, withinMs: afterMs + MOVE_TAKES_MS };
};
