// How long messages took from the server's clock to this page, although the two clocks differ.

/**
 * What to add to the local clock to read the server's, ms. The server stamped `serverTimeMs` half a round trip before
 * it arrived at `receivedAtMs` of the local clock.
 */
export const clockOffsetMs = (serverTimeMs: number, receivedAtMs: number, roundTripMs: number): number =>
  serverTimeMs + roundTripMs / 2 - receivedAtMs;

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
