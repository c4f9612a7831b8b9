import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { repeatedMember } from './repeated-member.ts';

describe('repeatedMember', () => {
  it.each([
    '{"a":1,"a":2}',
    '{"a":1,"b":{"a":1},"a":2}',
    '{"a":{"b":1,"b":2}}',
    '[{"a":1,"a":1}]',
    '{"a" :1,"a"\t:2}',
    '{"a":1,\n"\\u0061":2}',
    '{"":1,"":2}',
    String.raw`{"\"":1,"\"":2}`,
    String.raw`{"\\":1,"x":"\\","\\":2}`,
  ])('finds it in %s', (json) => {
    expect(JSON.parse(json)).toBeDefined();
    expect(repeatedMember(json)).toBe(true);
  });

  it.each([
    '{"a":1,"b":"a"}',
    '{"a":{"a":{"a":1}},"b":{"a":1}}',
    '[{"a":1},{"a":1}]',
    '{"a":["a","a"]}',
    '{"a":"\\"a\\":1,\\"a\\":2"}',
    '"a"',
    '1',
    '[]',
  ])('finds none in %s', (json) => {
    expect(JSON.parse(json)).toBeDefined();
    expect(repeatedMember(json)).toBe(false);
  });

  it('finds none in what a writer wrote, with and without white space', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(undefined, 2, '\t'), (json, space) => {
        expect(repeatedMember(JSON.stringify(JSON.parse(json), null, space))).toBe(false);
      }),
    );
  });

  it('finds a member that was written once more, wherever the object stands', () => {
    const name = fc.string();
    fc.assert(
      fc.property(
        fc.dictionary(name, fc.jsonValue(), { minKeys: 1, noNullPrototype: true }),
        fc.jsonValue(),
        (members, beside) => {
          const [first] = Object.keys(members);
          const written = JSON.stringify(members);
          const twice = `${written.slice(0, -1)},${JSON.stringify(first)}:1}`;
          expect(repeatedMember(`[${JSON.stringify(beside)},{"x":${twice}}]`)).toBe(true);
        },
      ),
    );
  });
});
