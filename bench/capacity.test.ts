import { describe, expect, it } from 'vitest';
import { findCapacity } from './capacity.ts';
import type { LoadResult } from './load-types.ts';

const run = {} as LoadResult;

/** A server that sustains `limit`; `disturbed` says which attempts (from 0) fail whatever the rate. */
const search = async (limit: number, disturbed: (attempt: number) => boolean = () => false, startRate = 1000) => {
  const rates: number[] = [];
  const found = await findCapacity({ startRate, maxRate: 30_000 }, (rate) => {
    rates.push(rate);
    return Promise.resolve({ run, passed: rate <= limit && !disturbed(rates.length - 1) });
  });
  return { ...found, rates };
};

describe('the capacity of a server', () => {
  it.each([300, 1000, 1700, 5000, 7400, 12_345, 26_000])('is found for %i within an eighth', async (limit) => {
    const { rate } = await search(limit);
    expect(rate).toBeLessThanOrEqual(limit);
    expect(rate! * 1.13).toBeGreaterThanOrEqual(limit);
  });

  it('is the same when single attempts are disturbed', async () => {
    const { rate } = await search(7400);
    for (const period of [2, 3, 5]) {
      // Never two in a row.
      expect((await search(7400, (attempt) => attempt % period === 1)).rate).toBe(rate);
    }
  });

  it('is found all the same when a server is cold during most of the search', async () => {
    const { rate } = await search(7400);
    const cold = await search(7400, (attempt) => attempt < 12 && attempt > 2);
    expect(cold.rates[3]).toBeLessThan(rate!);
    expect(cold.rate! * 1.13).toBeGreaterThanOrEqual(7400);
  });

  it('is confirmed: it passed once more, and half as much again fails after that', async () => {
    const { rate, steps } = await search(7400);
    const passed = steps.filter((step) => step.outcome === 'passed' && step.rate === rate);
    expect(passed.length).toBeGreaterThanOrEqual(2);
    const last = steps.findLastIndex((step) => step.outcome === 'passed');
    expect(steps[last]).toMatchObject({ rate });
    expect(steps.slice(last + 1).every((step) => step.outcome === 'failed' && step.rate > 1.4 * rate!)).toBe(true);
    expect(steps.length).toBeGreaterThan(last + 1);
  });

  it('does not exceed what may be tried, and costs few attempts', async () => {
    const { rate, rates } = await search(Infinity);
    expect(rate).toBeLessThanOrEqual(30_000);
    expect(Math.max(...rates)).toBeLessThanOrEqual(30_000);
    expect(rates.length).toBeLessThan(20);
  });

  it('is unknown when nothing passes', async () => {
    expect((await search(0)).rate).toBeUndefined();
  });
});
