// Delays grow and stay within bounds, and links that were lost together try again together.
import { expect, test } from 'vitest';
import { createReconnectSchedule } from './reconnect-schedule.ts';

const draw = (random: number, attempt: number): number =>
  createReconnectSchedule({ nowMs: () => 0, random: () => random })(attempt);

test.each([
  [1, 25, 50],
  [2, 50, 100],
  [5, 400, 800],
  [7, 1_000, 2_000],
  [1_000, 1_000, 2_000],
])('attempt %i waits %i to %i ms', (attempt, shortest, longest) => {
  expect(draw(0, attempt)).toBe(shortest);
  expect(draw(0.999_999, attempt)).toBe(longest);
});

test('links lost one after the other try again at the same moment', () => {
  let nowMs = 1_000;
  const schedule = createReconnectSchedule({ nowMs: () => nowMs });
  for (const attempt of [1, 3, 9]) {
    const moment = nowMs + schedule(attempt);
    nowMs += 2;
    expect(nowMs + schedule(attempt)).toBe(moment);
    nowMs += 3;
    expect(nowMs + schedule(attempt)).toBe(moment);
    nowMs = moment;
  }
});

test('a link lost just now does not wait for one that has failed for long', () => {
  let nowMs = 0;
  const schedule = createReconnectSchedule({ nowMs: () => nowMs });
  expect(schedule(12)).toBeGreaterThanOrEqual(1_000);
  nowMs = 5;
  expect(schedule(1)).toBeLessThanOrEqual(50);
});

test('a moment that has come is joined by nobody', () => {
  let nowMs = 0;
  const schedule = createReconnectSchedule({ nowMs: () => nowMs, random: () => 0 });
  nowMs = schedule(4);
  expect(schedule(5)).toBe(400);
});
