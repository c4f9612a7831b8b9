// What a close code, or a refused connect, means for the next attempt.
import { describe, expect, it } from 'vitest';
import { closeCodes } from '../../../protocol/codes.ts';
import { WeirError } from '../errors.ts';
import { judgeClose } from './verdict.ts';

describe('judgeClose', () => {
  it.each(Object.values(closeCodes))('decides $code $name from the number alone', ({ code }) => {
    expect(judgeClose({ code, reason: 'do not come back' }).kind).toBe(code >= 3500 ? 'stop' : 'retry');
  });

  it.each([
    [4000, 'retry'],
    [4499, 'retry'],
    [4500, 'stop'],
    [4999, 'stop'],
    [1006, 'retry'],
    [3999, 'stop'],
  ])('judges the close code %i as %s', (code, kind) => {
    expect(judgeClose({ code, reason: '' }).kind).toBe(kind);
  });

  it('takes the delay out of the reason of 1013 only', () => {
    expect(judgeClose({ code: 1013, reason: 'retryAfterMs=1500' })).toEqual({ kind: 'retry', serverDelayMs: 1500 });
    expect(judgeClose({ code: 1013, reason: 'busy' })).toEqual({ kind: 'retry', serverDelayMs: undefined });
    expect(judgeClose({ code: 1012, reason: 'retryAfterMs=9' })).toEqual({ kind: 'retry', serverDelayMs: undefined });
  });

  it('lets the error of a refused connect decide over the close code', () => {
    const close = { code: 1000, reason: '' };
    const overloaded = new WeirError(115, 'overloaded', '', { temporary: true, retryAfterMs: 700 });
    expect(judgeClose({ ...close, error: overloaded })).toEqual({ kind: 'retry', serverDelayMs: 700 });
    expect(judgeClose({ ...close, error: new WeirError(109, 'token_expired', '') }).kind).toBe('retry');
    expect(judgeClose({ ...close, error: new WeirError(101, 'unauthorized', '') })).toEqual({ kind: 'stop' });
  });
});
