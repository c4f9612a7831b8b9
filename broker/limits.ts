// The contract for limits that hold over all nodes: budgets spent per window, and counts of what is held at a time.
//
// Both are asked for in slices: a node takes a share in advance, works with it on its own, and asks again. What one node
// was given no other gets, so the shares of all nodes together never exceed the limit. Nobody cleans up after a killed
// node: windows end, and shares that are not renewed end with their lease.

/** At most `points` in each window of `windowMs`. A window begins with the first request after the one before it ended. */
export interface Budget {
  readonly points: number;
  /** Whole seconds. */
  readonly windowMs: number;
}

export interface BudgetShare {
  /** 0 to what was asked for: fewer when the window has no more. */
  readonly granted: number;
  /** When the window ends and what was not spent is void, ms from now. */
  readonly endsInMs: number;
}

/** What one holder wants to hold of a key. */
export interface HoldRequest {
  /** 1–300 characters. */
  readonly key: string;
  /** In use already: counts whatever the limit says. 0 with `wanted` 0 gives all back. */
  readonly used: number;
  /** At least `used`. */
  readonly wanted: number;
  /** Over the holders together. */
  readonly limit: number;
}

export interface Limits {
  /** Takes up to `points` (1 or more) out of the window's budget. Rejects with `BrokerUnavailableError`. */
  spend(key: string, points: number, budget: Budget): Promise<BudgetShare>;
  /**
   * Sets this node's shares and renews their lease, each in one atomic step; resolves with the share of each: `wanted`
   * or what the other nodes left of the limit, never less than `used`. Repeating it is safe.
   * Rejects with `BrokerUnavailableError`; some shares may be set by then.
   */
  hold(requests: readonly HoldRequest[], leaseMs: number): Promise<readonly number[]>;
}

/** The rule of `hold`, for drivers that decide in this process. */
export const shareOf = ({ used, wanted, limit }: HoldRequest, heldByOthers: number): number =>
  Math.max(used, Math.min(wanted, limit - heldByOthers));
