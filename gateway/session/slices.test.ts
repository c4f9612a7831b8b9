import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { closingPace, visitInSlices } from './slices.ts';

describe('visiting in slices', () => {
  it('ends at once when there is nothing to visit', async () => {
    await visitInSlices([], { size: 10, pauseMs: 0 }, () => expect.unreachable());
  });

  it('visits every item once, in order, whatever the size of a slice', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 0, max: 200 }), async (size, count) => {
        const items = Array.from({ length: count }, (_, index) => index);
        const seen: number[] = [];
        await visitInSlices(items, { size, pauseMs: 0 }, (item) => seen.push(item));
        expect(seen).toEqual(items);
      }),
      { numRuns: 30 },
    );
  });

  it('lets the event loop turn between two slices', async () => {
    const log: string[] = [];
    const visiting = visitInSlices(['a', 'b', 'c'], { size: 1, pauseMs: 0 }, (item) => log.push(item));
    setImmediate(() => log.push('other'));
    await visiting;
    expect(log).toEqual(['a', 'b', 'other', 'c']);
  });
});

describe('the pace of closing', () => {
  it('always fits the time it is given', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: 0, max: 60_000 }), (count, withinMs) => {
        const { size, pauseMs } = closingPace(count, withinMs);
        const slices = Math.ceil(count / size);
        expect((slices - 1) * pauseMs).toBeLessThanOrEqual(Math.max(withinMs, 0));
      }),
    );
  });

  it('closes at most 2 000 connections a second when there is time', () => {
    const { size, pauseMs } = closingPace(10_000, 30_000);
    expect((size * 1000) / pauseMs).toBeLessThanOrEqual(2000);
  });
});
