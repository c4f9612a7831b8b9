// A clock that stands still until a test moves it.
import type { Clock } from '../clock.ts';

export interface ManualClock extends Clock {
  /** Moves time forward, running each timer at its own time and what it causes before the next. */
  advance(ms: number): Promise<void>;
  /** Time passes while the machine sleeps: timers that were due run late, all at the end. */
  sleep(ms: number): Promise<void>;
  /** Timers set and neither run nor cancelled. */
  readonly timers: number;
}

/** Enough turns of the microtask queue for everything the SDK chains on promises. */
const TURNS = 30;

/** Resolves when everything that needs no timer and no network is done. */
export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < TURNS; turn++) await Promise.resolve();
};

export const createManualClock = (startMs = 1_000_000): ManualClock => {
  const timers = new Set<{ dueMs: number; callback: () => void }>();
  let nowMs = startMs;

  const takeDue = (untilMs: number): { dueMs: number; callback: () => void } | undefined => {
    let first: { dueMs: number; callback: () => void } | undefined;
    for (const timer of timers) if (timer.dueMs <= untilMs && timer.dueMs < (first?.dueMs ?? Infinity)) first = timer;
    if (first) timers.delete(first);
    return first;
  };
  const run = async (untilMs: number): Promise<void> => {
    await settled();
    for (let timer = takeDue(untilMs); timer; timer = takeDue(untilMs)) {
      nowMs = Math.max(nowMs, timer.dueMs);
      timer.callback();
      await settled();
    }
    nowMs = Math.max(nowMs, untilMs);
  };

  return {
    now: () => nowMs,
    after: (delayMs, callback) => {
      const timer = { dueMs: nowMs + delayMs, callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance: (ms) => run(nowMs + ms),
    sleep: (ms) => {
      nowMs += ms;
      return run(nowMs);
    },
    get timers() {
      return timers.size;
    },
  };
};
