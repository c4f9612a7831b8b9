// A rate that holds over all nodes, spent from a share taken in advance, so that publishing does not wait for the broker.
import type { Budget, BudgetShare } from '../../../broker/limits.ts';
import type { Rate } from './rate.ts';
import { createTokenBucket, type TokenBucket, waitMs } from './token-bucket.ts';

export interface RateLeaseOptions {
  readonly rate: Rate;
  /** Takes from the budget of all nodes. Rejects when that cannot be told in time. */
  readonly spend: (points: number, budget: Budget) => Promise<BudgetShare>;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  /** The whole rate is used on this node alone from now on, for a while. */
  readonly onAlone: () => void;
}

export interface RateLease {
  /** 0 when taken, else how long to wait, ms. A promise only when no share is left: callers are answered in order. */
  take(): number | Promise<number>;
  /** Nothing is held, owed or asked for: a new one would be the same. */
  isIdle(): boolean;
}

/** A share is this part of the window's budget: what one node can leave unused while others want it. */
const SHARES_PER_WINDOW = 20;
/** How long a node that cannot reach the others works alone before it asks again, ms. */
const ALONE_MS = 1000;

export const createRateLease = ({ rate, spend, nowMs, onAlone }: RateLeaseOptions): RateLease => {
  const budget: Budget = { points: rate.count, windowMs: rate.perMs };
  const slice = Math.max(1, Math.floor(rate.count / SHARES_PER_WINDOW));
  const tokenMs = rate.perMs / rate.count;
  let points = 0;
  let endsAtMs = 0;
  /** Until then the window of all nodes has nothing more. */
  let exhaustedUntilMs = 0;
  let refused = 0;
  let asking = false;
  const waiting: ((delayMs: number) => void)[] = [];
  let alone: TokenBucket | undefined;
  let aloneUntilMs = 0;

  /** Each one that is refused comes back a little later than the one before it, within the next window. */
  const refusal = (now: number): number => {
    refused++;
    return waitMs(exhaustedUntilMs + Math.min((refused - 1) * tokenMs, rate.perMs), now);
  };

  const handleShare = (asked: number, { granted, endsInMs }: BudgetShare): void => {
    asking = false;
    alone = undefined;
    const now = nowMs();
    const nextEndMs = now + endsInMs;
    // What is left of an earlier window is void: its time was somebody else's as well.
    points = nextEndMs - endsAtMs > rate.perMs / 2 ? granted : points + granted;
    endsAtMs = nextEndMs;
    if (granted < asked) {
      if (exhaustedUntilMs < now) refused = 0;
      exhaustedUntilMs = nextEndMs;
    }
    const served = waiting.splice(0, points);
    points -= served.length;
    for (const answer of served) answer(0);
    if (waiting.length === 0) return;
    if (granted < asked) for (const answer of waiting.splice(0)) answer(refusal(now));
    else ask();
  };

  const handleFailure = (): void => {
    asking = false;
    const now = nowMs();
    aloneUntilMs = now + ALONE_MS;
    alone ??= createTokenBucket(rate);
    onAlone();
    for (const answer of waiting.splice(0)) answer(alone.take(now, 1));
  };

  const ask = (): void => {
    if (asking) return;
    asking = true;
    const asked = Math.min(budget.points, Math.max(slice, waiting.length));
    spend(asked, budget).then((share) => handleShare(asked, share), handleFailure);
  };

  return {
    take() {
      const now = nowMs();
      if (waiting.length === 0) {
        if (now < endsAtMs && points > 0) {
          points--;
          // Ahead of need, so that the next ones find a share as well.
          if (points < slice / 2 && now >= exhaustedUntilMs && now >= aloneUntilMs) ask();
          return 0;
        }
        if (alone !== undefined && now < aloneUntilMs) return alone.take(now, 1);
        if (now < exhaustedUntilMs) return refusal(now);
      }
      return new Promise((resolve) => {
        waiting.push(resolve);
        ask();
      });
    },
    isIdle: () => {
      const now = nowMs();
      return !asking && now >= endsAtMs && now >= exhaustedUntilMs && (alone?.isFull(now) ?? true);
    },
  };
};
