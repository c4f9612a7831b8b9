import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coalesceDelayMs } from './coalescing.ts';

describe('the coalescing delay', () => {
  it('is nothing while the loop has time', () => {
    for (const utilisation of [0, 0.3, 0.6]) expect(coalesceDelayMs(utilisation, 20)).toBe(0);
  });

  it('is the configured maximum when the loop is busy', () => {
    for (const utilisation of [0.95, 1]) expect(coalesceDelayMs(utilisation, 20)).toBe(20);
  });

  it('never leaves its bounds and never falls as utilisation rises', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(share, share, fc.integer({ min: 0, max: 1000 }), (a, b, maxMs) => {
        const [low, high] = [coalesceDelayMs(Math.min(a, b), maxMs), coalesceDelayMs(Math.max(a, b), maxMs)];
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(maxMs);
        expect(low).toBeLessThanOrEqual(high);
      }),
    );
  });
});
