// What the verdict on the rate of admission rests on.
import { expect, test } from 'vitest';
import { type Admitted, fullestSecond } from './admissions.ts';

const at = (askedMs: number, tookMs: number, count: number): Admitted => ({
  askedMs,
  answeredMs: askedMs + tookMs,
  count,
});

test('the fullest second is the span in which most came, not the first or the mean', () => {
  expect(fullestSecond([at(0, 0, 0), at(1_000, 0, 10), at(2_000, 0, 190), at(3_000, 0, 200)])).toBe(180);
});

test('what came within less than a second is not taken for a rate', () => {
  expect(fullestSecond([at(0, 0, 0), at(500, 0, 90), at(1_000, 0, 100), at(1_500, 0, 100)])).toBe(100);
});

test('where it is open when a count was true, it counts as the shorter span', () => {
  expect(fullestSecond([at(0, 20, 0), at(1_020, 20, 150)])).toBe(150);
  expect(fullestSecond([at(0, 20, 0), at(1_000, 20, 150), at(1_270, 20, 150)])).toBe(120);
});

test('without two answers a second apart there is no figure', () => {
  expect(fullestSecond([])).toBeNaN();
  expect(fullestSecond([at(0, 0, 0), at(999, 0, 5)])).toBeNaN();
});
