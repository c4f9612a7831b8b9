import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCoalescing, type FlushSample, waitForLoad } from './coalescing.ts';

/** One publication per ms to 100 sockets each, all alone, in flushes that take 0.3 ms. */
const idle: FlushSample = {
  busy: 0.4,
  lagMs: 0,
  flushing: 0.3,
  flushes: 1,
  publications: 1,
  deliveries: 100,
  frames: 100,
};
/** 100 publications per second to 1 000 sockets, each in a flush of 2 ms. */
const expensive: FlushSample = {
  busy: 0.25,
  lagMs: 0,
  flushing: 0.2,
  flushes: 0.1,
  publications: 0.1,
  deliveries: 100,
  frames: 100,
};

const delayForLoad = (sample: FlushSample, maxDelayMs: number): number => waitForLoad(sample, maxDelayMs).ms;

describe('the wait that a load asks for', () => {
  it('is nothing while the loop has time and flushes are cheap', () => {
    for (const busy of [0, 0.3, 0.6]) expect(delayForLoad({ ...idle, busy }, 20)).toBe(0);
    expect(delayForLoad({ ...idle, lagMs: 10 }, 20)).toBe(0);
  });

  it.each([
    ['busy', { busy: 0.95 }],
    ['late', { lagMs: 50 }],
    ['both', { busy: 1, lagMs: 500 }],
  ])('is the configured maximum without what flushes take when the loop is %s', (_, load) => {
    expect(delayForLoad({ ...idle, ...load }, 20)).toBeCloseTo(19.7);
  });

  it('is nothing when the loop is busy and late with other things than flushes', () => {
    expect(delayForLoad({ ...idle, busy: 1, flushing: 0.02, lagMs: 500 }, 20)).toBe(0);
  });

  it('waits for a second publication where one alone is expensive, though there is time, and not beyond it', () => {
    const wait = waitForLoad(expensive, 20);
    expect(wait.ms).toBeCloseTo(13);
    expect(wait.publications).toBe(2);
  });

  it('ends with no publication where the load asks for it: each more is a gain', () => {
    expect(waitForLoad({ ...idle, busy: 1 }, 20).publications).toBe(Infinity);
    expect(waitForLoad({ ...expensive, busy: 1 }, 20).publications).toBe(Infinity);
  });

  it('gathers more than the next publication where they come faster than the longest wait', () => {
    const wait = waitForLoad({ ...expensive, publications: 0.2, flushing: 0.4, flushes: 0.2 }, 20);
    expect(wait.ms).toBeCloseTo(0.6 * 18);
    expect(wait.publications).toBe(3);
  });

  it('asks for the same when two share a flush as when each had its own', () => {
    const halved = { ...expensive, flushing: 0.1, flushes: 0.05, frames: 50 };
    expect(delayForLoad(halved, 20)).toBeCloseTo(delayForLoad(expensive, 20));
  });

  it('waits where the next publication comes before the flush is over, and not only before the wait is', () => {
    const wait = waitForLoad({ ...expensive, flushing: 0.9 }, 20);
    expect(wait.ms).toBeCloseTo(9);
    expect(wait.publications).toBe(2);
    expect(delayForLoad({ ...expensive, flushing: 0.7, publications: 0.05 }, 20)).toBe(0);
  });

  it('does not wait where no publication is expected before it ends', () => {
    expect(delayForLoad({ ...expensive, publications: 0.05, flushes: 0.05, flushing: 0.2 }, 20)).toBe(0);
    expect(delayForLoad({ ...idle, busy: 1, publications: 0.04, flushes: 0.05 }, 20)).toBe(0);
  });

  it('waits less the longer a flush takes, down to nothing, because the next one gathers meanwhile', () => {
    expect(delayForLoad({ ...idle, busy: 1, flushing: 1, flushes: 0.1 }, 20)).toBeCloseTo(10);
    expect(delayForLoad({ ...idle, busy: 1, flushing: 1, flushes: 0.05 }, 20)).toBe(0);
  });

  it('never leaves its bounds and never falls as the loop gets busier or later', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const rate = fc.double({ min: 0, max: 1000, noNaN: true });
    const sample = fc.record({
      busy: share,
      lagMs: rate,
      flushing: share,
      flushes: rate,
      publications: rate,
      deliveries: rate,
      frames: rate,
    });
    fc.assert(
      fc.property(sample, share, rate, fc.integer({ min: 0, max: 1000 }), (low, busier, laterMs, maxMs) => {
        const high = { ...low, busy: Math.min(1, low.busy + busier), lagMs: low.lagMs + laterMs };
        const [least, most] = [delayForLoad(low, maxMs), delayForLoad(high, maxMs)];
        expect(least).toBeGreaterThanOrEqual(0);
        expect(most).toBeLessThanOrEqual(maxMs);
        expect(least).toBeLessThanOrEqual(most);
      }),
    );
  });
});

describe('coalescing', () => {
  const full: FlushSample = { ...idle, busy: 1, flushing: 1, flushes: 2 };
  const none: FlushSample = { busy: 0, lagMs: 0, flushing: 0, flushes: 0, publications: 0, deliveries: 0, frames: 0 };
  const after = (samples: readonly FlushSample[]): number => {
    const coalescing = createCoalescing(20);
    for (const sample of samples) coalescing.take(sample);
    return coalescing.wait.ms;
  };

  it('goes to what every sample asks for', () => {
    expect(after([])).toBe(0);
    expect(after(Array<FlushSample>(50).fill(full))).toBeCloseTo(19.5, 1);
    expect(after([...Array<FlushSample>(50).fill(full), ...Array<FlushSample>(50).fill(none)])).toBe(0);
  });

  it('rests between samples that swing, instead of swinging with them', () => {
    const calm = { ...full, busy: 0.55 };
    const swinging = Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? full : calm));
    const delays = [98, 99, 100].map((samples) => after(swinging.slice(0, samples)));
    for (const delay of delays) expect(Math.abs(delay - 9.75)).toBeLessThan(2);
  });
});
