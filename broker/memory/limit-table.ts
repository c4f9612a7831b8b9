// The limits of a one-process cluster.
import type { BrokerClock } from '../clock.ts';
import { type Budget, type BudgetShare, type HoldRequest, shareOf } from '../limits.ts';

interface Window {
  spent: number;
  readonly endsAtMs: number;
}

interface Share {
  readonly count: number;
  readonly expiresAtMs: number;
}

/** The same as `Limits` for any holder, at once. */
export interface LimitTable {
  spend(key: string, points: number, budget: Budget): BudgetShare;
  hold(holder: string, requests: readonly HoldRequest[], leaseMs: number): number[];
  /** What is kept at the moment, for tests of its bounds. */
  size(): number;
}

/** Keys looked at per call: more than one, so that a sweep ends before the map can double. */
const SWEPT_PER_CALL = 2;

export const createLimitTable = (clock: BrokerClock): LimitTable => {
  const windows = new Map<string, Window>();
  const holds = new Map<string, Map<string, Share>>();
  let windowSweep = windows.entries();
  let holdSweep = holds.entries();

  const sweep = (nowMs: number): void => {
    for (let i = 0; i < SWEPT_PER_CALL; i += 1) {
      const window = windowSweep.next();
      if (window.done === true) windowSweep = windows.entries();
      else if (window.value[1].endsAtMs <= nowMs) windows.delete(window.value[0]);
      const hold = holdSweep.next();
      if (hold.done === true) holdSweep = holds.entries();
      else dropExpired(...hold.value, nowMs);
    }
  };
  const dropExpired = (key: string, shares: Map<string, Share>, nowMs: number): void => {
    for (const [holder, { expiresAtMs }] of shares) if (expiresAtMs <= nowMs) shares.delete(holder);
    if (shares.size === 0) holds.delete(key);
  };

  const holdOne = (holder: string, request: HoldRequest, nowMs: number, leaseMs: number): number => {
    const shares = holds.get(request.key) ?? new Map<string, Share>();
    dropExpired(request.key, shares, nowMs);
    let others = 0;
    for (const [name, { count }] of shares) if (name !== holder) others += count;
    const share = shareOf(request, others);
    if (share === 0) shares.delete(holder);
    else shares.set(holder, { count: share, expiresAtMs: nowMs + leaseMs });
    if (shares.size === 0) holds.delete(request.key);
    else holds.set(request.key, shares);
    return share;
  };

  return {
    spend(key, points, budget) {
      const nowMs = clock.nowMs();
      sweep(nowMs);
      let window = windows.get(key);
      if (window === undefined || window.endsAtMs <= nowMs) {
        window = { spent: 0, endsAtMs: nowMs + budget.windowMs };
        windows.set(key, window);
      }
      const granted = Math.max(0, Math.min(points, budget.points - window.spent));
      window.spent += granted;
      return { granted, endsInMs: window.endsAtMs - nowMs };
    },
    hold(holder, requests, leaseMs) {
      const nowMs = clock.nowMs();
      sweep(nowMs);
      return requests.map((request) => holdOne(holder, request, nowMs, leaseMs));
    },
    size: () => windows.size + holds.size,
  };
};
