import { describe, expect, it } from 'vitest';
import { idleTimeoutS, PING_INTERVAL_MS } from './ping-interval.ts';

describe('the idle timeout of a ping interval', () => {
  it('is one that the engine accepts at both ends of the range', () => {
    expect([PING_INTERVAL_MS.min, PING_INTERVAL_MS.max]).toEqual([4_000, 944_000]);
    expect([PING_INTERVAL_MS.min, PING_INTERVAL_MS.max].map(idleTimeoutS)).toEqual([8, 960]);
  });

  it.each([
    [7_000, 11],
    [8_000, 16],
    [15_000, 23],
    [16_000, 32],
    [25_000, 41],
  ])('of %i ms leaves the margin that the engine takes: %i s', (intervalMs, timeoutS) => {
    expect(idleTimeoutS(intervalMs)).toBe(timeoutS);
  });
});
