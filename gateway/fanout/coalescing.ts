// How long a flush may wait for more publications: nothing while the loop has time, longer the busier it is.
//
// The cost of fan-out is per flush to a socket (4-6 us), hardly per message, so waiting turns many flushes into one. The
// delay depends on measured utilisation only: it lowers the utilisation, which lowers the delay, and the two settle.

/** Below this share of busy time a flush leaves at once. */
const IDLE_UTILISATION = 0.6;
/** From this share on the full delay applies. */
const BUSY_UTILISATION = 0.95;

/**
 * @param utilisation share of recent time in which the event loop was busy, 0 to 1
 * @param maxDelayMs configured upper bound, ms
 * @returns delay before the next flush, ms
 */
export const coalesceDelayMs = (utilisation: number, maxDelayMs: number): number => {
  const pressure = (utilisation - IDLE_UTILISATION) / (BUSY_UTILISATION - IDLE_UTILISATION);
  return Math.min(1, Math.max(0, pressure)) * maxDelayMs;
};
