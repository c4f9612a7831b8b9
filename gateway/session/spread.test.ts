import fc from 'fast-check';
import { expect, it } from 'vitest';
import { spreadMove } from './spread.ts';

it('lets at most about 1 000 connections a second move, evenly', () => {
  const count = 20_000;
  const perSecond = new Map<number, number>();
  for (let index = 0; index < count; index++) {
    const second = Math.floor(spreadMove(count, index / count).afterMs / 1000);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  }
  expect([...perSecond.keys()]).toEqual(Array.from({ length: 20 }, (_, second) => second));
  for (const moves of perSecond.values()) expect(moves).toBe(1000);
});

it.each([
  { count: 1, random: 0, afterMs: 0 },
  { count: 1, random: 0.5, afterMs: 250 },
  { count: 10_000, random: 0.5, afterMs: 5000 },
  { count: 10_000, random: 0.9999, afterMs: 9999 },
])('$count connections, drawn $random: after $afterMs ms', ({ count, random, afterMs }) => {
  expect(spreadMove(count, random).afterMs).toBe(afterMs);
});

it('leaves each connection time to move', () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (count, random) => {
      const { afterMs, withinMs } = spreadMove(count, random);
      expect(afterMs).toBeGreaterThanOrEqual(0);
      expect(withinMs - afterMs).toBe(10_000);
    }),
  );
});
