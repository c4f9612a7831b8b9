// What a refused subscribe means, by its code.
import { expect, it } from 'vitest';
import { WeirError } from '../errors.ts';
import type { Since } from '../protocol/wire.ts';
import { judgeRefusal } from './refusal.ts';

const position: Since = { epoch: 'e1', offset: 3 };

it.each([
  [103, false, position, 'first', 'end'],
  [108, false, undefined, 'first', 'end'],
  [108, false, 'earliest', 'first', 'end'],
  [108, false, { last: 3 }, 'first', 'end'],
  [105, false, undefined, 'restarted', 'end'],
  [105, false, undefined, 'first', 'restart'],
  [108, false, position, 'first', 'live'],
  [112, false, position, 'restarted', 'live'],
  [115, true, position, 'first', 'retry'],
  [2, true, position, 'first', 'wait'],
] as const)('judges %i (temporary: %s) with since %j, asked %s: %s', (code, temporary, since, asked, refusal) => {
  expect(judgeRefusal(new WeirError(code, 'any', '', { temporary }), since, asked)).toBe(refusal);
});
