import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Failure } from '../failure.ts';
import { MAX_DATA_DEPTH, payloadText } from './payload.ts';

const nested = (levels: number, inner = '', open = '[', close = ']'): unknown =>
  JSON.parse(open.repeat(levels) + inner + close.repeat(levels));
const refusalOf = (data: unknown): Failure | undefined => {
  try {
    payloadText(data);
    return undefined;
  } catch (error) {
    return error as Failure;
  }
};

describe('the text of a payload', () => {
  it.each([
    ['arrays', '[', ']', ''],
    ['objects', '{"a":', '}', '1'],
  ])(
    'is refused one level of %s above the bound, and far above what can be written at all',
    (_, open, close, inner) => {
      for (const levels of [MAX_DATA_DEPTH + 1, 5_000, 100_000]) {
        expect(refusalOf(nested(levels, inner, open, close))).toMatchObject({ error: 'badRequest' });
      }
      expect(payloadText(nested(MAX_DATA_DEPTH, inner, open, close))).toBe(
        open.repeat(MAX_DATA_DEPTH) + inner + close.repeat(MAX_DATA_DEPTH),
      );
    },
  );

  it('counts levels, not brackets: wide data and brackets inside strings are no nesting', () => {
    const wide = Array.from({ length: 5_000 }, () => [{}]);
    const words = ['['.repeat(5_000), `"${'[{'.repeat(3_000)}`, `\\"${'['.repeat(2_000)}\\`, '\\'.repeat(4_001)];
    for (const data of [wide, words, { [words[1]!]: words }]) expect(payloadText(data)).toBe(JSON.stringify(data));
    expect(refusalOf([words, nested(MAX_DATA_DEPTH + 1)])).toMatchObject({ error: 'badRequest' });
  });

  it.each(['1e400', '-1e400', '[null,{"a":[1e999]}]', '{"null":1e400}'])(
    'refuses %s, whose number the parser reads as Infinity and the writer would turn into null',
    (text) => {
      expect(refusalOf(JSON.parse(text))).toMatchObject({ error: 'badRequest' });
    },
  );

  it.each(['null', '"null"', '[null,1,{"a":null}]', '1e308', '-0.5', '1e-400'])('takes %s', (text) => {
    expect(payloadText(JSON.parse(text))).toBe(JSON.stringify(JSON.parse(text)));
  });

  it('is the JSON of any other value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        expect(payloadText(data)).toBe(JSON.stringify(data));
      }),
    );
  });

  it('takes megabytes of escaped quotes in passing: the time grows with the length only', () => {
    const text = JSON.stringify({ text: '\\"['.repeat(300_000) });
    // Quadratic work on a payload of escaped quotes would take minutes.
    expect(payloadText(JSON.parse(text))).toBe(text);
  });
});
