// Unit tests of validators: what their problems say, and what they never say.
import { type TSchema, Type } from '@sinclair/typebox';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { channelSchema, policySchema } from './fields.ts';
import { offsetSchema, sinceSchema } from './position.ts';
import { createValidator, describeProblems } from './validate.ts';

const describeInvalid = (schema: TSchema, value: unknown): string => {
  const result = createValidator(schema).validate(value);
  if (result.kind === 'valid') throw new Error('expected an invalid value');
  return describeProblems(result.problems);
};

describe('a problem', () => {
  it.each<[string, TSchema, unknown, string]>([
    [
      'a missing field',
      Type.Object({ channel: channelSchema }),
      {},
      'channel: expected channel name (1-200 of A-Za-z0-9_-=@,.;/:), got nothing',
    ],
    [
      'an empty name',
      Type.Object({ channel: channelSchema }),
      { channel: '' },
      'channel: expected channel name (1-200 of A-Za-z0-9_-=@,.;/:), got ""',
    ],
    [
      'a union as one expectation',
      Type.Object({ since: sinceSchema }),
      { since: { epoch: 5 } },
      'since: expected {epoch, offset}, "earliest" or {last: n}, got {"epoch":5}',
    ],
    [
      'a union of literals by its members',
      policySchema,
      'fast',
      'expected delivery policy ("all", "latest", "conflate" or "ack"), got "fast"',
    ],
    ['a range', Type.Integer({ minimum: 1, maximum: 1000 }), 0, 'expected integer 1-1000, got 0'],
    ['a described lower bound', offsetSchema, -1, 'expected offset (integer 0 or more), got -1'],
    ['an upper bound', Type.String({ maxLength: 3 }), 'abcd', 'expected string of at most 3 characters, got "abcd"'],
    [
      'the length of an array',
      Type.Array(Type.Null(), { minItems: 1, maxItems: 2 }),
      [],
      'expected array of 1-2 items, got []',
    ],
    [
      'a place in an array',
      Type.Object({ a: Type.Array(Type.Object({ b: Type.Boolean() })) }),
      { a: [{ b: true }, { b: 1 }] },
      'a[1].b: expected true or false, got 1',
    ],
    ['null', Type.Object({}), null, 'expected object, got null'],
    [
      'an unknown value that is missing',
      Type.Object({ data: Type.Unknown() }),
      {},
      'data: expected any JSON value, got nothing',
    ],
    [
      'several fields',
      Type.Object({ a: Type.Null(), b: Type.Number() }),
      { a: 1, b: '2' },
      'a: expected null, got 1; b: expected number, got "2"',
    ],
  ])('names %s', (_what, schema, value, text) => {
    expect(describeInvalid(schema, value)).toBe(text);
  });

  it('shows at most 40 characters of what was got', () => {
    const text = describeInvalid(Type.Number(), 'x'.repeat(10_000));
    expect(text).toBe(`expected number, got "${'x'.repeat(38)}…`);
  });

  it('never shows a token, only its type', () => {
    const schema = Type.Object({ token: Type.String({ minLength: 20 }) });
    expect(describeInvalid(schema, { token: 's3cret' })).toBe(
      'token: expected string of 20 or more characters, got string',
    );
  });

  it('never shows a token inside a larger value', () => {
    const text = describeInvalid(Type.String(), { nested: [{ token: 's3cret' }] });
    expect(text).toBe('expected string, got {"nested":[{"token":string}]}');
  });

  it('costs no stack for a value nested a hundred thousand levels deep', () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    expect(describeInvalid(Type.Object({ a: Type.Null() }), deep)).toMatch(/got \[{39}…/);
  });

  it('is one of at most ten', () => {
    const result = createValidator(Type.Array(Type.Null())).validate(Array.from({ length: 100 }, () => 1));
    expect(result.kind === 'invalid' && result.problems.length).toBe(10);
  });
});

describe('a validator', () => {
  it('returns the value itself, unknown fields included', () => {
    const value = { known: 1, unknown: 2 };
    const result = createValidator(Type.Object({ known: Type.Number() })).validate(value);
    expect(result.kind === 'valid' && result.value).toBe(value);
  });

  it('accepts null where any value is allowed', () => {
    expect(createValidator(Type.Object({ data: Type.Unknown() })).check({ data: null })).toBe(true);
  });

  it('never throws and never shows more than 40 characters, whatever JSON it gets', () => {
    const schema = Type.Object({ since: sinceSchema, list: Type.Array(channelSchema) });
    const { validate } = createValidator(schema);
    const near = fc.record({ since: fc.jsonValue(), list: fc.array(fc.jsonValue()) }, { requiredKeys: [] });
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), near), (value) => {
        const result = validate(value);
        if (result.kind === 'valid') return;
        expect(result.problems.length).toBeGreaterThan(0);
        for (const { got } of result.problems) expect(got.length).toBeLessThanOrEqual(40);
      }),
    );
  });
});
