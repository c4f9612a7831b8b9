// Time as the SDK sees it: injected, so that tests need no waiting.

/** Cancels what it was returned for; calling it late or twice does nothing. */
export type Cancel = () => void;

export interface Clock {
  /** Wall clock, ms. Wall time and not a monotonic one: only it shows that the machine slept. */
  now(): number;
  /** Runs `callback` once after `delayMs`, never synchronously. */
  after(delayMs: number, callback: () => void): Cancel;
}

/** Larger delays overflow the timers of every engine and would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, Math.min(delayMs, MAX_TIMER_MS));
    return () => clearTimeout(timer);
  },
};
