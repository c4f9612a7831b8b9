import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createLingering, LINGER_MS } from './lingering.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it('counts what was added for as long as a socket may stay, and a moment longer at most', () => {
  let charged = 0;
  const lingering = createLingering((more) => (charged += more));
  const added: { readonly atMs: number; readonly amount: number }[] = [];
  for (let second = 0; second < 60; second++) {
    const amount = second % 7;
    lingering.add(amount);
    added.push({ atMs: Date.now(), amount });
    const since = (ms: number) =>
      added.reduce((sum, { atMs, amount: one }) => (Date.now() - atMs <= ms ? sum + one : sum), 0);
    expect(lingering.sum).toBeGreaterThanOrEqual(since(LINGER_MS));
    expect(lingering.sum).toBeLessThanOrEqual(since(LINGER_MS + 2000));
    expect(charged).toBe(lingering.sum);
    vi.advanceTimersByTime(1000);
  }
  vi.advanceTimersByTime(LINGER_MS + 2000);
  expect([lingering.sum, charged, vi.getTimerCount()]).toEqual([0, 0, 0]);
  lingering.add(5);
  expect(lingering.sum).toBe(5);
});
