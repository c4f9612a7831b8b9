// How long messages took from the server's clock to this page, although the two clocks differ.

export interface ServerClockEstimate {
  /** What to add to the local clock to read the server's, ms. */
  readonly offsetMs: number;
  /** A message that the server stamped with its clock arrived now. */
  observeStamp(stampMs: number, receivedAtMs: number): void;
  observeRoundTrip(roundTripMs: number): void;
}

/**
 * Clocks differ by what is left when a message's way is taken off. A busy page and a coalescing server only ever make the
 * way longer, so the fastest message seen counts, and it is taken to have needed half of the fastest round trip.
 */
export const estimateServerClock = (): ServerClockEstimate => {
  let largestMs: number | undefined;
  let fastestRoundTripMs = Infinity;
  return {
    get offsetMs() {
      return (largestMs ?? 0) + (Number.isFinite(fastestRoundTripMs) ? fastestRoundTripMs / 2 : 0);
    },
    observeStamp: (stampMs, receivedAtMs) => {
      largestMs = Math.max(largestMs ?? -Infinity, stampMs - receivedAtMs);
    },
    observeRoundTrip: (roundTripMs) => {
      fastestRoundTripMs = Math.min(fastestRoundTripMs, roundTripMs);
    },
  };
};

/** `live`: published while subscribed. `replayed`: older than the subscription, so its age says nothing about speed. */
export type Delay = { readonly kind: 'live' | 'replayed'; readonly ms: number };

export interface Arrival {
  /** When the server took the publication, its clock, ms. */
  readonly timeMs: number;
  /** Local clock, ms. */
  readonly receivedAtMs: number;
  readonly offsetMs: number;
  /** When the subscription was made or resumed, server's clock, ms. */
  readonly liveSinceMs: number;
}

/** Never negative: clocks are only known to a fraction of the round trip. */
export const delayOf = ({ timeMs, receivedAtMs, offsetMs, liveSinceMs }: Arrival): Delay => ({
  kind: timeMs < liveSinceMs ? 'replayed' : 'live',
  ms: Math.max(0, receivedAtMs + offsetMs - timeMs),
});

/** The value that `fraction` (0 to 1) of `values` does not exceed (nearest rank); undefined when there are none. */
export const quantile = (values: readonly number[], fraction: number): number | undefined => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)];
};
