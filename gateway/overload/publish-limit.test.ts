import { describe, expect, it } from 'vitest';
import { createPublishLimit } from './publish-limit.ts';

const SAMPLE_MS = 100;

/** A node that was asked for `perSecond` until it began to limit. */
const setUp = (perSecond: number) => {
  const limit = createPublishLimit();
  let nowMs = 0;
  /** One sample in which `asked` come evenly; how many were taken in each of its ten parts. */
  const pass = (asked: number, pressure: number): number[] => {
    const parts = Array.from({ length: 10 }, () => 0);
    for (let one = 0; one < asked; one++) {
      if (!limit.admits(nowMs + (one * SAMPLE_MS) / asked)) continue;
      limit.handleTaken(1);
      parts[Math.floor((one * 10) / asked)]!++;
    }
    nowMs += SAMPLE_MS;
    limit.sample(SAMPLE_MS, pressure, true);
    return parts;
  };
  for (let sample = 0; sample < 50; sample++) pass(perSecond / 10, 0);
  limit.engage(nowMs);
  return { limit, pass };
};

describe('what is let through while a node sheds', () => {
  it('comes evenly, not all at the beginning of a sample', () => {
    const { pass } = setUp(10_000);
    pass(2000, 0.98);
    const parts = pass(2000, 0.98);
    expect(Math.max(...parts)).toBeLessThanOrEqual(1.1 * (parts.reduce((sum, count) => sum + count, 0) / 10));
  });

  it('holds its rate whatever is asked for', () => {
    const { limit, pass } = setUp(10_000);
    for (const asked of [1500, 5000, 20_000]) {
      const before = limit.rate;
      const taken = Array.from({ length: 20 }, () => pass(asked, 0.98).reduce((sum, count) => sum + count, 0));
      expect(limit.rate).toBe(before);
      expect(taken.reduce((sum, count) => sum + count, 0) / 2).toBeCloseTo(before, -2);
    }
  });

  it('after a quiet time brings no burst longer than a turn of the loop', () => {
    const { limit, pass } = setUp(10_000);
    for (let sample = 0; sample < 10; sample++) pass(0, 0.98);
    let taken = 0;
    while (limit.admits(1e9)) {
      limit.handleTaken(1);
      taken++;
    }
    expect(taken).toBeLessThanOrEqual(limit.rate * 0.05 + 1);
  });

  it('changes little near the goal and more the further away it is', () => {
    const changeAt = (pressure: number): number => {
      const { limit, pass } = setUp(10_000);
      for (let sample = 0; sample < 3; sample++) pass(2000, 0.98);
      const before = limit.rate;
      pass(2000, pressure);
      return Math.round((limit.rate / before) * 1000) / 1000;
    };
    expect([0.99, 0.999, 1, 1.1, 5].map(changeAt)).toEqual([1, 1, 0.99, 0.94, 0.8]);
    expect([0.97, 0.95, 0.2].map(changeAt)).toEqual([1.005, 1.015, 1.02]);
  });

  it('gives a fall time to show before the next', () => {
    const { limit, pass } = setUp(10_000);
    const rates = Array.from({ length: 9 }, () => {
      pass(2000, 3);
      return Math.round(limit.rate / 9);
    });
    expect(rates).toEqual([1000, 800, 800, 640, 640, 512, 512, 410, 410]);
  });

  it('returns fast to what the node was found to take, and feels its way beyond', () => {
    const { limit, pass } = setUp(10_000);
    for (let sample = 0; sample < 6; sample++) pass(2000, 3);
    expect(limit.rate).toBeLessThan(6_000);
    const back = Array.from({ length: 10 }, () => {
      pass(2000, 0.1);
      return limit.rate;
    });
    expect(back.findIndex((rate) => rate === 9_000)).toBeLessThan(6);
    expect(Math.max(...back)).toBeLessThan(9_000 * 1.02 ** 7);
  });

  it('follows a node that can take less than before', () => {
    const { limit, pass } = setUp(10_000);
    // Presses while more than 3 000 come; the mean over a minute is near that, and never far above for long.
    const rates = Array.from({ length: 600 }, () => {
      pass(2000, Math.min(3, limit.rate / 3_000));
      return limit.rate;
    });
    const settled = rates.slice(100);
    expect(Math.max(...settled)).toBeLessThan(3_300);
    expect(settled.reduce((sum, rate) => sum + rate, 0) / settled.length).toBeGreaterThan(2_700);
  });
});
