// What a close code, or a refused connect, means for the next attempt.
import { describe, expect, it } from 'vitest';
import { closeCodes } from '../../../protocol/codes.ts';
import { WeirError } from '../errors.ts';
import { judgeClose } from './verdict.ts';

describe('judgeClose', () => {
  it.each(Object.values(closeCodes))('decides $code $name from the number alone', ({ code }) => {
    expect(judgeClose({ code, reason: 'do not come back' }) !== undefined).toBe(code < 3500);
  });

  it.each([
    [4000, true],
    [4499, true],
    [4500, false],
    [4999, false],
    [1006, true],
    [3999, false],
  ])('judges the close code %i (retry: %s)', (code, mayRetry) => {
    expect(judgeClose({ code, reason: '' }) !== undefined).toBe(mayRetry);
  });

  it.each([1012, 1013, 3014])('takes the delay out of the reason of %i, and forbids nothing by it', (code) => {
    expect(judgeClose({ code, reason: 'retryAfterMs=1500' })).toEqual({ serverDelayMs: 1500 });
    expect(judgeClose({ code, reason: 'busy' })).toEqual({ serverDelayMs: undefined });
    expect(judgeClose({ code: 3503, reason: 'retryAfterMs=1500' })).toBeUndefined();
  });

  it('lets the error of a refused connect decide over the close code', () => {
    const close = { code: 1000, reason: '' };
    const overloaded = new WeirError(115, 'overloaded', '', { temporary: true, retryAfterMs: 700 });
    expect(judgeClose({ ...close, error: overloaded })).toEqual({ serverDelayMs: 700 });
    expect(judgeClose({ ...close, error: new WeirError(109, 'token_expired', '') })).toEqual({
      serverDelayMs: undefined,
    });
    expect(judgeClose({ ...close, error: new WeirError(101, 'unauthorized', '') })).toBeUndefined();
  });
});
