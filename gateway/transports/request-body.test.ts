import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HttpResponse } from './engine.ts';
import { type BodyOptions, type BodyOutcome, readBody } from './request-body.ts';

type Deliver = (text: string, isLast: boolean) => void;

/** The engine's part, as far as a body needs it. */
const reading = (options: Partial<BodyOptions> = {}) => {
  const outcomes: BodyOutcome[] = [];
  let onData: Parameters<HttpResponse['onData']>[0] | undefined;
  const res = { onData: (handler: typeof onData) => void (onData = handler) } as unknown as HttpResponse;
  const reader = readBody(
    res,
    { maxBodyBytes: 10, requestTimeoutMs: 1000, purpose: 'keep', mayKeep: () => true, ...options },
    (outcome) => void outcomes.push(outcome),
  );
  const deliver: Deliver = (text, isLast) => onData!(new TextEncoder().encode(text).buffer, isLast);
  return { outcomes, reader, deliver };
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a body that is kept', () => {
  it('arrives whole, in pieces or not, and leaves no timer', () => {
    const { outcomes, deliver } = reading();
    deliver('abc', false);
    deliver('def', true);
    expect(outcomes).toEqual([{ kind: 'whole', body: Buffer.from('abcdef') }]);
    vi.runAllTicks();
    vi.advanceTimersByTime(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('for which there is no room is read to its end, unkept, and only then refused', () => {
    let room = 4;
    const asked: number[] = [];
    const { outcomes, deliver } = reading({
      mayKeep(bytes) {
        asked.push(bytes);
        return (room -= bytes) >= 0;
      },
    });
    deliver('abc', false);
    deliver('de', false);
    deliver('f', false);
    expect(outcomes).toEqual([]);
    deliver('', true);
    expect(outcomes).toEqual([{ kind: 'noRoom' }]);
    expect(asked).toEqual([3, 2]);
  });

  it('that stops, or never begins, is too slow', () => {
    for (const begin of [true, false]) {
      const { outcomes, deliver } = reading();
      if (begin) deliver('abc', false);
      vi.advanceTimersByTime(1001);
      expect(outcomes).toEqual([{ kind: 'tooSlow' }]);
    }
  });

  it('is too large above the bound, once it is read or far over', () => {
    const { outcomes, deliver } = reading();
    deliver('x'.repeat(11), false);
    expect(outcomes).toEqual([]);
    deliver('x', true);
    expect(outcomes).toEqual([{ kind: 'tooLarge' }]);
    const far = reading();
    far.deliver('x'.repeat(641), false);
    expect(far.outcomes).toEqual([{ kind: 'tooLarge' }]);
  });

  it('is given back when the client goes away: no timer stays, and nothing is told', () => {
    const { outcomes, reader, deliver } = reading();
    deliver('abc', false);
    vi.advanceTimersByTime(1);
    expect(vi.getTimerCount()).toBe(1);
    reader.abort();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(5000);
    deliver('def', true);
    expect(outcomes).toEqual([]);
  });
});

describe('a body that nobody wants', () => {
  it.each([
    ['to its end', 'nothing', (deliver: Deliver) => deliver('x'.repeat(50), true)],
    ['far over the bound', 'more', (deliver: Deliver) => deliver('x'.repeat(641), false)],
    ['until its time is up', 'more', () => void vi.advanceTimersByTime(1001)],
  ] as const)('is read %s', (_, rest, happen) => {
    const { outcomes, deliver } = reading({ purpose: 'discard' });
    deliver('x', false);
    happen(deliver);
    expect(outcomes).toEqual([{ kind: 'discarded', rest }]);
  });
});
