// The reconnect delays of one client, and of a thousand that lost the same node.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fullJitter } from './strategy.ts';

describe('fullJitter', () => {
  const strategy = fullJitter();

  it.each([
    [1, 1000],
    [2, 2000],
    [3, 4000],
    [4, 8000],
    [5, 16_000],
    [6, 30_000],
    [60, 30_000],
    [5000, 30_000],
  ])('spreads attempt %i over 0 to %i ms', (attempt, boundMs) => {
    expect(strategy(attempt, () => 0)).toBe(0);
    expect(strategy(attempt, () => 0.5)).toBe(boundMs / 2);
    expect(strategy(attempt, () => 1 - Number.EPSILON)).toBeLessThan(boundMs);
  });

  it('never leaves its bounds, whatever base, factor, cap and attempt', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.double({ min: 1, max: 10, noNaN: true }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.integer({ min: 1, max: 10_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (baseMs, factor, capMs, attempt, value) => {
          const delayMs = fullJitter({ baseMs, factor, capMs })(attempt, () => value);
          expect(delayMs).toBeGreaterThanOrEqual(0);
          expect(delayMs).toBeLessThanOrEqual(capMs);
        },
      ),
    );
  });

  it('spreads the first retry of 1000 clients evenly over the first second', () => {
    // A fixed generator (mulberry32), so that the test says the same every time.
    let seed = 20_260_101;
    const random = (): number => {
      seed = (seed + 0x6d2b79f5) | 0;
      let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    const perTenth = new Array<number>(10).fill(0);
    for (let client = 0; client < 1000; client++) perTenth[Math.floor(strategy(1, random) / 100)]! += 1;
    // Binomial(1000, 0.1): mean 100, deviation 9.5; no tenth of a second gets a herd, none stays empty.
    for (const clients of perTenth) {
      expect(clients).toBeGreaterThan(60);
      expect(clients).toBeLessThan(140);
    }
  });
});
