// Circuit breaker: after many failures in a row nothing is sent for a while, then one call tries whether it works again.
import type { Clock } from '../clock.ts';

export interface BreakerOptions {
  readonly clock: Clock;
  /** Failures in a row that open it. */
  readonly failures: number;
  /** How long it stays open before a trial, ms. */
  readonly openMs: number;
}

export interface Breaker {
  /** Whether a call may be sent; one that may tells how it went by `succeeded` or `failed`. */
  take(): boolean;
  succeeded(): void;
  failed(): void;
  readonly isOpen: boolean;
}

export const createBreaker = ({ clock, failures, openMs }: BreakerOptions): Breaker => {
  let inARow = 0;
  /** Monotonic time until which nothing is sent, ms; undefined while closed. */
  let openUntilMs: number | undefined;
  return {
    take() {
      if (openUntilMs === undefined) return true;
      const nowMs = clock.monotonicMs();
      if (nowMs < openUntilMs) return false;
      // This one is the trial; the next waits until it is decided, or as long again.
      openUntilMs = nowMs + openMs;
      return true;
    },
    succeeded() {
      inARow = 0;
      openUntilMs = undefined;
    },
    failed() {
      inARow++;
      if (inARow >= failures) openUntilMs = clock.monotonicMs() + openMs;
    },
    get isOpen() {
      return openUntilMs !== undefined;
    },
  };
};
