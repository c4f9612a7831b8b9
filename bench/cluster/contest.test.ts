// What the verdicts of the contests rest on.
import { expect, test } from 'vitest';
import { countBySecond, publishUntil, returnDelayMs } from './contest.ts';

test('moments are counted by the second they fall into, also where one is empty', () => {
  expect(countBySecond([])).toEqual([]);
  expect(countBySecond([2_000, 0, 999.9, 2_999])).toEqual([2, 0, 2]);
});

test('a client comes back when its close said so, else within the jitter', () => {
  expect(returnDelayMs('overloaded retryAfterMs=1234', 10)).toBe(1234);
  expect(returnDelayMs('retryAfterMs=0', 10)).toBe(0);
  const delays = Array.from({ length: 100 }, () => returnDelayMs('', 10));
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...delays)).toBeLessThan(10);
  expect(new Set(delays).size).toBeGreaterThan(50);
});

test('what is published until a signal is numbered without hole, and the head is the newest offset answered', async () => {
  const ended = new AbortController();
  const asked: number[] = [];
  const result = await publishUntil(ended.signal, 1_000, (n) => {
    asked.push(n);
    if (n === 4) ended.abort();
    return Promise.resolve(100 - n);
  });
  expect(asked).toEqual([0, 1, 2, 3, 4]);
  expect(result).toEqual({ head: 100, count: 5 });
});
