// What one turn of the event loop takes in. A step into overload is read in a turn, thousands of sockets at once, and the bound of
// publications under way hears of it only when that turn is over: what is taken by then waits for all the rest of it. This is about
// publications of servers; those of clients are limited per connection, and must not have servers refused.
import type { Clock } from '../clock.ts';

/** Part of what publications may take after which a turn takes no more of them: to be confirmed and sent takes them longer yet. */
const SHARE = 0.5;
/** Never fewer: so many take a loop a few ms, so it was something else that made a turn long that took fewer. */
const LEAST = 256;

export interface PublishTurn {
  /** Whether this turn has taken in publications for as long as it may. */
  isFull(nowMs: number): boolean;
  handleTaken(): void;
}

export interface PublishTurnOptions {
  readonly clock: Clock;
  /** What publications may take, ms; 0: however long they like. */
  readonly publishWaitMs: number;
  /** Calls back behind all that is read in this turn. */
  readonly nextTurn: (work: () => void) => void;
}

export const createPublishTurn = ({ clock, publishWaitMs: longestMs, nextTurn }: PublishTurnOptions): PublishTurn => {
  const fullAfterMs = longestMs === 0 ? Infinity : longestMs * SHARE;
  let taken = 0;
  /** When the first of this turn was taken, monotonic ms. */
  let sinceMs = 0;
  return {
    isFull: (nowMs) => taken >= LEAST && nowMs - sinceMs > fullAfterMs,
    handleTaken() {
      if (taken++ > 0) return;
      sinceMs = clock.monotonicMs();
      nextTurn(() => {
        taken = 0;
      });
    },
  };
};
