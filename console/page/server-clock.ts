// Reads the server's clock from here, and measures the round trip to it while connected.
import type { WeirClient } from '../../client/src/index.ts';
import { estimateServerClock } from '../model/latency.ts';

export interface ServerClock {
  /** Add to `Date.now()`, ms. */
  readonly offsetMs: number;
  /** Of the last ping; undefined before the first answer. */
  readonly roundTripMs: number | undefined;
  /** Milliseconds since 1970 by the server's clock. */
  now(): number;
  /** A message stamped with the server's clock arrived at `receivedAtMs` of the local one. */
  observeStamp(stampMs: number, receivedAtMs: number): void;
}

/** Soon after connecting, when the page is busy, then less and less often, ms. */
const FIRST_PING_MS = 250;
const PING_EVERY_MS = 5000;

/** `onMeasured` is called after each answer to a ping. */
export const startServerClock = (client: WeirClient, onMeasured: () => void): ServerClock => {
  // Every node has a clock of its own: a new connection starts a new estimate.
  let estimate = estimateServerClock();
  let roundTripMs: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const measure = async (): Promise<void> => {
    const sentMs = performance.now();
    await client.ping();
    roundTripMs = performance.now() - sentMs;
    estimate.observeRoundTrip(roundTripMs);
    onMeasured();
  };
  const pingAfter = (delayMs: number): void => {
    timer = setTimeout(() => {
      // A connection that closes meanwhile shows itself in the state.
      if (client.isConnected && !document.hidden) measure().catch(() => undefined);
      pingAfter(Math.min(PING_EVERY_MS, delayMs * 2));
    }, delayMs);
  };

  client.on('connected', ({ serverTime }) => {
    estimate = estimateServerClock();
    estimate.observeStamp(serverTime, Date.now());
    roundTripMs = undefined;
    clearTimeout(timer);
    measure().catch(() => undefined);
    pingAfter(FIRST_PING_MS);
  });

  return {
    get offsetMs() {
      return estimate.offsetMs;
    },
    get roundTripMs() {
      return roundTripMs;
    },
    now: () => Date.now() + estimate.offsetMs,
    observeStamp: (stampMs, receivedAtMs) => estimate.observeStamp(stampMs, receivedAtMs),
  };
};
