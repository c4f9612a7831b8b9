// Does something with many connections without holding the event loop: a slice, a pause, the next slice.

export interface SliceOptions {
  /** Items per slice. */
  readonly size: number;
  /** Pause between two slices, ms; 0 only lets the loop turn. */
  readonly pauseMs: number;
}

/** Visits a snapshot of the items in order. Resolves after the last one. */
export const visitInSlices = <T>(
  items: Iterable<T>,
  { size, pauseMs }: SliceOptions,
  visit: (item: T) => void,
): Promise<void> =>
  new Promise((resolve) => {
    const snapshot = [...items];
    let next = 0;
    const visitSlice = (): void => {
      const end = Math.min(next + size, snapshot.length);
      while (next < end) visit(snapshot[next++]!);
      if (next === snapshot.length) resolve();
      else if (pauseMs === 0) setImmediate(visitSlice);
      else setTimeout(visitSlice, pauseMs);
    };
    visitSlice();
  });

/** Connections closed per slice and the pause between two slices: 2 000 a second, unless time is short. */
const CLOSE_SIZE = 100;
const CLOSE_PAUSE_MS = 50;

/** The pace at which `count` connections are closed within `withinMs`: gentle for the nodes that get them next. */
export const closingPace = (count: number, withinMs: number): SliceOptions => {
  const slices = Math.max(1, Math.floor(withinMs / CLOSE_PAUSE_MS));
  return { size: Math.max(CLOSE_SIZE, Math.ceil(count / slices)), pauseMs: CLOSE_PAUSE_MS };
};
