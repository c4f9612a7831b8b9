import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ApiKeyAttempts, createApiKeyAttempts } from './api-key-attempts.ts';

const clockAt = (): { clock: { nowMs: () => number; monotonicMs: () => number }; advance: (ms: number) => void } => {
  let nowMs = 0;
  return {
    clock: { nowMs: () => nowMs, monotonicMs: () => nowMs },
    advance: (ms) => (nowMs += ms),
  };
};
const limiter = (): { attempts: ApiKeyAttempts; advance: (ms: number) => void } => {
  const { clock, advance } = clockAt();
  return { attempts: createApiKeyAttempts({ clock, maxFailures: 10, windowMs: 60_000 }), advance };
};
const fail = (attempts: ApiKeyAttempts, address: string, count: number): string[] =>
  Array.from({ length: count }, () => attempts.attempt(address, undefined).kind);

describe('failed attempts of an address', () => {
  it('are limited after as many as it may have, with the time until the next', () => {
    const { attempts } = limiter();
    expect(fail(attempts, '10.0.0.1', 10)).toEqual(Array(10).fill('free'));
    expect(attempts.attempt('10.0.0.1', undefined)).toEqual({ kind: 'limited', retryAfterMs: 6000, first: true });
    expect(attempts.attempt('10.0.0.1', undefined)).toEqual({ kind: 'limited', retryAfterMs: 6000, first: false });
  });

  it('do not count for another address', () => {
    const { attempts } = limiter();
    fail(attempts, '10.0.0.1', 20);
    expect(fail(attempts, '10.0.0.2', 1)).toEqual(['free']);
  });

  it('count for the whole /64 of an IPv6 address, however it is written', () => {
    const { attempts } = limiter();
    fail(attempts, '2001:db8:1:2::1', 20);
    for (const same of ['2001:db8:1:2:ffff::9', '2001:db8:1:2:1:2:3:4'])
      expect(fail(attempts, same, 1), same).toEqual(['limited']);
    for (const other of ['2001:db8:1:3::1', '2001:db8::1:2', '::1'])
      expect(fail(attempts, other, 1), other).toEqual(['free']);
  });

  it('come back evenly: over any hour no more than the configured rate and the burst, and no fewer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 50, max: 5000 }), (pauseMs) => {
        const { attempts, advance } = limiter();
        let free = 0;
        for (let passedMs = 0; passedMs < 3_600_000; passedMs += pauseMs) {
          if (attempts.attempt('10.0.0.1', undefined).kind === 'free') free++;
          advance(pauseMs);
        }
        expect(free).toBeLessThanOrEqual(610);
        expect(free).toBeGreaterThanOrEqual(598);
      }),
      { numRuns: 20 },
    );
  });

  it('refuse a right key as well while none is left, so that a guess tells nothing', () => {
    const { attempts, advance } = limiter();
    fail(attempts, '10.0.0.1', 10);
    expect(attempts.attempt('10.0.0.1', 'backend').kind).toBe('limited');
    advance(6000);
    expect(attempts.attempt('10.0.0.1', 'backend').kind).toBe('free');
  });

  it('leave a key alone that was used from there before', () => {
    const { attempts } = limiter();
    expect(attempts.attempt('10.0.0.1', 'backend').kind).toBe('free');
    fail(attempts, '10.0.0.1', 20);
    expect(attempts.attempt('10.0.0.1', 'backend').kind).toBe('free');
    expect(attempts.attempt('10.0.0.1', 'other').kind).toBe('limited');
  });

  it('are remembered for a bounded number of addresses', () => {
    const { attempts } = limiter();
    fail(attempts, '10.0.0.1', 20);
    for (let n = 0; n < 10_000; n++) attempts.attempt(`client-${n}`, undefined);
    expect(fail(attempts, '10.0.0.1', 1)).toEqual(['free']);
  });

  it('are forgotten for the address that was quiet for longest, however often in a row another was heard', () => {
    const { attempts } = limiter();
    fail(attempts, '10.0.0.1', 20);
    fail(attempts, 'quiet', 20);
    for (let n = 2; n < 10_000; n++) attempts.attempt(`client-${n}`, undefined);
    expect(fail(attempts, '10.0.0.1', 3)).toEqual(['limited', 'limited', 'limited']);
    attempts.attempt('one-too-many', undefined);
    expect(fail(attempts, '10.0.0.1', 1)).toEqual(['limited']);
    expect(fail(attempts, 'quiet', 1)).toEqual(['free']);
  });
});
