// Reads the server's clock from here: its time when it accepted the connection, and the round trip measured since.
import type { WeirClient } from '../../client/src/index.ts';
import { clockOffsetMs } from '../model/latency.ts';

export interface ServerClock {
  /** Add to `Date.now()`, ms. */
  readonly offsetMs: number;
  /** Of the last ping; undefined before the first answer. */
  readonly roundTripMs: number | undefined;
  /** Milliseconds since 1970 by the server's clock. */
  now(): number;
}

const PING_EVERY_MS = 5000;

/** Pings while connected; `onMeasured` is called after each answer. */
export const startServerClock = (client: WeirClient, onMeasured: () => void): ServerClock => {
  let accepted: { serverTimeMs: number; receivedAtMs: number } | undefined;
  let offsetMs = 0;
  let roundTripMs: number | undefined;

  const settle = (): void => {
    if (accepted) offsetMs = clockOffsetMs(accepted.serverTimeMs, accepted.receivedAtMs, roundTripMs ?? 0);
  };
  const measure = async (): Promise<void> => {
    const sentMs = performance.now();
    await client.ping();
    roundTripMs = performance.now() - sentMs;
    settle();
    onMeasured();
  };
  const tryMeasure = (): void => {
    // A connection that closes meanwhile shows itself in the state.
    if (client.isConnected && !document.hidden) measure().catch(() => undefined);
  };

  client.on('connected', ({ serverTime }) => {
    accepted = { serverTimeMs: serverTime, receivedAtMs: Date.now() };
    roundTripMs = undefined;
    settle();
    tryMeasure();
  });
  setInterval(tryMeasure, PING_EVERY_MS);

  return {
    get offsetMs() {
      return offsetMs;
    },
    get roundTripMs() {
      return roundTripMs;
    },
    now: () => Date.now() + offsetMs,
  };
};
