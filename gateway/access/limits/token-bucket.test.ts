import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketShapeOf, createTokenBucket, nextSlotMs } from './token-bucket.ts';

const SECONDS = 60;
const countTaken = (bucket: ReturnType<typeof createTokenBucket>, stepMs: number, perStep: number): number => {
  let taken = 0;
  for (let nowMs = 1000; nowMs < 1000 + SECONDS * 1000; nowMs += stepMs) {
    for (let n = 0; n < perStep; n++) if (bucket.take(nowMs, 1) === 0) taken++;
  }
  return taken;
};

describe('a token bucket', () => {
  it('gives the burst at once, and not one more', () => {
    const bucket = createTokenBucket({ count: 30, perMs: 7000 });
    const taken = Array.from({ length: 40 }, () => bucket.take(5, 1) === 0);
    expect(taken.filter(Boolean)).toHaveLength(30);
    expect(taken.indexOf(false)).toBe(30);
  });

  it.each([
    { count: 100, perMs: 60_000 },
    { count: 50, perMs: 1000 },
    { count: 400, perMs: 10_000 },
    { count: 7, perMs: 3000 },
    { count: 3000, perMs: 1000 },
  ])('sustains $count per $perMs ms over 60 s under constant overload, within 2 %', (rate) => {
    const taken = countTaken(createTokenBucket(rate), 1, 10);
    const sustained = (taken - rate.count) / ((rate.count / rate.perMs) * 1000 * SECONDS);
    expect(Math.abs(sustained - 1)).toBeLessThan(0.02);
  });

  it('is exact in every window of any length: never more than the burst and what was refilled', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 1, max: 10 })), { maxLength: 80 }),
        (count, perS, steps) => {
          const rate = { count, perMs: perS * 1000 };
          const bucket = createTokenBucket(rate);
          const takenAt: number[] = [];
          let nowMs = 0;
          for (const [pauseMs, asked] of steps) {
            nowMs += pauseMs;
            for (let n = 0; n < asked; n++) if (bucket.take(nowMs, 1) === 0) takenAt.push(nowMs);
          }
          for (const [first, fromMs] of takenAt.entries()) {
            for (let last = first; last < takenAt.length; last++) {
              const refilled = ((takenAt[last]! - fromMs) / rate.perMs) * count;
              expect(last - first + 1).toBeLessThanOrEqual(count + refilled + 1e-6);
            }
          }
        },
      ),
    );
  });

  it('takes again exactly when it said so', () => {
    const bucket = createTokenBucket({ count: 2, perMs: 1000 });
    expect([bucket.take(0, 1), bucket.take(0, 1), bucket.take(0, 1)]).toEqual([0, 0, 500]);
    expect(bucket.take(499, 1)).toBeGreaterThan(0);
    expect(bucket.take(500, 1)).toBe(0);
  });

  it('names each of many refused a moment of its own, at the rate, and no later than a full bucket', () => {
    const bucket = createTokenBucket({ count: 10, perMs: 1000 });
    for (let n = 0; n < 10; n++) bucket.take(0, 1);
    const waits = Array.from({ length: 15 }, () => bucket.take(0, 1));
    expect(waits).toEqual([100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1000, 1000, 1000, 1000, 1000]);
  });

  it('serves all in one further round when each waits as told', () => {
    const bucket = createTokenBucket({ count: 100, perMs: 10_000 });
    const returns: number[] = [];
    for (let n = 0; n < 150; n++) {
      const delayMs = bucket.take(0, 1);
      if (delayMs > 0) returns.push(delayMs);
    }
    expect(returns).toHaveLength(50);
    for (const atMs of returns) expect(bucket.take(atMs, 1)).toBe(0);
  });

  it('takes a cost above its capacity when it is full, and makes it up afterwards', () => {
    const bucket = createTokenBucket({ count: 10, perMs: 1000 });
    expect(bucket.take(0, 30)).toBe(0);
    expect(bucket.take(1500, 1)).toBeGreaterThan(0);
    expect(bucket.take(2100, 1)).toBe(0);
    expect(bucket.take(2200, 30)).toBeGreaterThan(0);
    expect(bucket.isFull(3099)).toBe(false);
    expect(bucket.isFull(3200)).toBe(true);
  });

  it('never names a moment that has passed', () => {
    const state = { fullAtMs: 0, lastSlotMs: 0 };
    expect(nextSlotMs(bucketShapeOf({ count: 1, perMs: 1000 }), state, 5000, 1)).toBe(5000);
  });
});
