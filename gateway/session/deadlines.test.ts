import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDeadlines } from './deadlines.ts';

describe('deadlines', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const start = (isDue: (item: string) => boolean = () => true) => {
    const expired: string[] = [];
    const clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };
    const deadlines = createDeadlines<string>({
      clock,
      lengthMs: 1_000,
      isDue,
      onExpired: (item) => expired.push(item),
    });
    return { deadlines, expired };
  };

  it('expire in their order, each at its own time', () => {
    const { deadlines, expired } = start();
    deadlines.add('a');
    deadlines.add('b');
    vi.advanceTimersByTime(500);
    deadlines.add('c');
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(750);
    expect(expired).toEqual(['a', 'b']);
    vi.advanceTimersByTime(500);
    expect(expired).toEqual(['a', 'b', 'c']);
  });

  it('drop what no longer waits, and need no timer once nothing is left', () => {
    const { deadlines, expired } = start((item) => item !== 'gone');
    deadlines.add('gone');
    deadlines.add('there');
    vi.advanceTimersByTime(1_250);
    expect(expired).toEqual(['there']);
    expect(vi.getTimerCount()).toBe(0);
    deadlines.add('later');
    vi.advanceTimersByTime(1_250);
    expect(expired).toEqual(['there', 'later']);
  });

  it('expire nothing once closed', () => {
    const { deadlines, expired } = start();
    deadlines.add('a');
    deadlines.close();
    vi.advanceTimersByTime(5_000);
    expect(expired).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
