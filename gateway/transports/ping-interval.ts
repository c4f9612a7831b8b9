// Turns the time between pings into what the engine is told: it knows an idle timeout only and chooses the ping itself.

/** What the engine accepts as idle timeout, s; anything else ends the process. */
const IDLE_TIMEOUT_S = { min: 8, max: 960 } as const;
/** The least and the most the engine pings ahead of its idle timeout, s. */
const MARGIN_S = { min: 4, max: 16 } as const;

/** Ping intervals that the engine can keep, ms. */
export const PING_INTERVAL_MS = {
  min: (IDLE_TIMEOUT_S.min - MARGIN_S.min) * 1000,
  max: (IDLE_TIMEOUT_S.max - MARGIN_S.max) * 1000,
} as const;

/**
 * Idle timeout for an interval within `PING_INTERVAL_MS`, s. The engine pings a margin before it and cuts the connection at
 * it, without a close frame. The margin is the largest of 4, 8 and 16 s that is at most half of the timeout.
 */
export const idleTimeoutS = (pingIntervalMs: number): number => {
  const pingS = Math.ceil(pingIntervalMs / 1000);
  const marginS = pingS >= 16 ? MARGIN_S.max : pingS >= 8 ? 8 : MARGIN_S.min;
  return pingS + marginS;
};
