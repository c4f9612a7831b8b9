import fc from 'fast-check';
import { expect, it } from 'vitest';
import { timesAt, windowFor } from './spread.ts';

it('lets as many connections a second move as are admitted, evenly and in the order given', () => {
  const count = 20_000;
  const spread = { count, noticeMs: 2000, windowMs: windowFor(count, 1000), moveTimeoutMs: 5000 };
  const perSecond = new Map<number, number>();
  for (let index = 0; index < count; index++) {
    const second = Math.floor(timesAt(index, spread, 0.5).afterMs / 1000);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  }
  expect([...perSecond.keys()]).toEqual(Array.from({ length: 20 }, (_, second) => second + 2));
  expect(new Set(perSecond.values())).toEqual(new Set([1000]));
});

it.each([
  { count: 1, perSecond: 1000, maxMs: 60_000, windowMs: 500 },
  { count: 10_000, perSecond: 1000, maxMs: 60_000, windowMs: 10_000 },
  { count: 10_000, perSecond: 50, maxMs: 60_000, windowMs: 60_000 },
  { count: 10_000, perSecond: 1000, maxMs: 0, windowMs: 0 },
  { count: 0, perSecond: 1000, maxMs: 60_000, windowMs: 500 },
])('gives $count connections at $perSecond a second within $maxMs ms a window of $windowMs ms', (row) => {
  expect(windowFor(row.count, row.perSecond, row.maxMs)).toBe(row.windowMs);
});

it('keeps every move inside its slot, after the notice and with its whole time', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100_000 }),
      fc.nat(10_000),
      fc.nat(600_000),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (count, noticeMs, windowMs, place, random) => {
        const index = Math.floor(place * count);
        const spread = { count, noticeMs, windowMs, moveTimeoutMs: 5000 };
        const { afterMs, withinMs } = timesAt(index, spread, random);
        expect(afterMs).toBeGreaterThanOrEqual(Math.floor(noticeMs + (index * windowMs) / count));
        expect(afterMs).toBeLessThanOrEqual(noticeMs + ((index + 1) * windowMs) / count);
        expect(withinMs - afterMs).toBe(5000);
      },
    ),
  );
});
