// JSON is laid out for reading, without losing or inventing anything.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { layOutJson } from './json-text.ts';

const OPTIONS = { lineWidth: 40, maxCharacters: 4000 };
const textOf = (value: unknown, options = OPTIONS): string =>
  layOutJson(value, options)
    .tokens.map(({ text }) => text)
    .join('');

describe('layOutJson', () => {
  it('cuts a value that is too long and says so', () => {
    const { tokens, cut } = layOutJson('x'.repeat(100), { ...OPTIONS, maxCharacters: 10 });
    expect(tokens).toEqual([{ kind: 'string', text: '"xxxxxxxxx' }]);
    expect(cut).toBe(true);
  });

  it('says that a list is cut also when the limit lies between two items', () => {
    expect(layOutJson([1, 2, 3], { ...OPTIONS, maxCharacters: 2 })).toEqual({
      tokens: [
        { kind: 'plain', text: '[' },
        { kind: 'number', text: '1' },
      ],
      cut: true,
    });
  });

  it('is not cut when it just fits', () => {
    expect(layOutJson([1, 2], { ...OPTIONS, maxCharacters: 6 }).cut).toBe(false);
  });

  it('keeps what fits on one line', () => {
    expect(textOf({ a: 1, b: [true, null] })).toBe('{ "a": 1, "b": [true, null] }');
    expect(textOf({})).toBe('{}');
    expect(textOf([])).toBe('[]');
  });

  it('spreads what does not fit, and keeps inner values together', () => {
    const value = { title: 'a fairly long headline', tags: ['one', 'two'] };
    expect(textOf(value)).toBe('{\n  "title": "a fairly long headline",\n  "tags": ["one", "two"]\n}');
  });

  it('tells keys, strings, numbers and literals apart', () => {
    const { tokens } = layOutJson({ k: ['s', 1, false, null] }, OPTIONS);
    expect(tokens.filter(({ kind }) => kind !== 'plain')).toEqual([
      { kind: 'key', text: '"k"' },
      { kind: 'string', text: '"s"' },
      { kind: 'number', text: '1' },
      { kind: 'literal', text: 'false' },
      { kind: 'literal', text: 'null' },
    ]);
  });

  it('parses back to the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.integer({ min: 1, max: 60 }), (value, lineWidth) => {
        const text = textOf(value, { lineWidth, maxCharacters: Infinity });
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
