import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coalesceDelayMs, type FlushLoad } from './coalescing.ts';

const idle: FlushLoad = { busy: 0.2, flushing: 0.5, lagMs: 0 };

describe('the coalescing delay', () => {
  it('is nothing while the loop has time', () => {
    for (const busy of [0, 0.3, 0.6]) expect(coalesceDelayMs({ ...idle, busy }, 20)).toBe(0);
    expect(coalesceDelayMs({ ...idle, lagMs: 10 }, 20)).toBe(0);
  });

  it.each([
    ['busy', { busy: 0.95 }],
    ['late', { lagMs: 50 }],
    ['both', { busy: 1, lagMs: 500 }],
  ])('is the configured maximum when the loop is %s', (_, load) => {
    expect(coalesceDelayMs({ ...idle, ...load }, 20)).toBe(20);
  });

  it('is nothing when the loop is busy and late with other things than flushes', () => {
    expect(coalesceDelayMs({ busy: 1, flushing: 0.02, lagMs: 500 }, 20)).toBe(0);
  });

  it('never leaves its bounds and never falls as the load rises', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const load = fc.record({ busy: share, flushing: share, lagMs: fc.double({ min: 0, max: 1000, noNaN: true }) });
    fc.assert(
      fc.property(load, load, fc.integer({ min: 0, max: 1000 }), (a, b, maxMs) => {
        const pick = (choose: (x: number, y: number) => number): FlushLoad => ({
          busy: choose(a.busy, b.busy),
          flushing: choose(a.flushing, b.flushing),
          lagMs: choose(a.lagMs, b.lagMs),
        });
        const [low, high] = [coalesceDelayMs(pick(Math.min), maxMs), coalesceDelayMs(pick(Math.max), maxMs)];
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(maxMs);
        expect(low).toBeLessThanOrEqual(high);
      }),
    );
  });
});
