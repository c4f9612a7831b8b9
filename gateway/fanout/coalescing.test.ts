import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCoalescing, delayForLoad, type FlushLoad } from './coalescing.ts';

const idle: FlushLoad = { busy: 0.2, flushing: 0.5, lagMs: 0 };

describe('the delay that a load asks for', () => {
  it('is nothing while the loop has time', () => {
    for (const busy of [0, 0.3, 0.6]) expect(delayForLoad({ ...idle, busy }, 20)).toBe(0);
    expect(delayForLoad({ ...idle, lagMs: 10 }, 20)).toBe(0);
  });

  it.each([
    ['busy', { busy: 0.95 }],
    ['late', { lagMs: 50 }],
    ['both', { busy: 1, lagMs: 500 }],
  ])('is the configured maximum when the loop is %s', (_, load) => {
    expect(delayForLoad({ ...idle, ...load }, 20)).toBe(20);
  });

  it('is nothing when the loop is busy and late with other things than flushes', () => {
    expect(delayForLoad({ busy: 1, flushing: 0.02, lagMs: 500 }, 20)).toBe(0);
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
        const [low, high] = [delayForLoad(pick(Math.min), maxMs), delayForLoad(pick(Math.max), maxMs)];
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(maxMs);
        expect(low).toBeLessThanOrEqual(high);
      }),
    );
  });
});

describe('the coalescing delay', () => {
  const full: FlushLoad = { busy: 1, flushing: 1, lagMs: 0 };
  const none: FlushLoad = { busy: 0, flushing: 0, lagMs: 0 };
  const after = (samples: readonly FlushLoad[], perMs: number): number => {
    const coalescing = createCoalescing(20);
    for (const sample of samples) coalescing.take(sample, perMs);
    return coalescing.delayMs;
  };

  it('goes to what every sample asks for', () => {
    expect(after([], 1)).toBe(0);
    expect(after(Array<FlushLoad>(50).fill(full), 1)).toBeCloseTo(20, 1);
    expect(after([...Array<FlushLoad>(50).fill(full), ...Array<FlushLoad>(50).fill(none)], 1)).toBeCloseTo(0, 1);
  });

  it('rests between samples that swing, instead of swinging with them', () => {
    const swinging = Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? full : none));
    const delays = [98, 99, 100].map((samples) => after(swinging.slice(0, samples), 1));
    for (const delay of delays) expect(Math.abs(delay - 10)).toBeLessThan(2);
  });

  it('is nothing where no publication is expected before it ends, and whole where one is', () => {
    const samples = Array<FlushLoad>(50).fill(full);
    expect(after(samples, 0.04)).toBe(0);
    expect(after(samples, 0.06)).toBeCloseTo(20, 1);
  });
});
