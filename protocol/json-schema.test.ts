// Unit tests of the JSON Schema document: an independent validator agrees with the compiled validators of the node.
import { readFile } from 'node:fs/promises';
import { Kind, OptionalKind, type TSchema } from '@sinclair/typebox';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commandSchemas } from './commands.ts';
import { batchBodySchema, publishBodySchema, statsSchema } from './http.ts';
import { explainAnswerSchema } from './http-connections.ts';
import { definitionName, protocolJsonSchema } from './json-schema.ts';
import { pushSchemas } from './pushes.ts';
import { replySchemas } from './replies.ts';
import { createValidator } from './validate.ts';

const document = protocolJsonSchema();
const ajv = new Ajv2020({ strict: true, strictRequired: false });
ajv.addSchema(document);
const validateAs = (name: string, value: unknown): boolean =>
  ajv.validate(`urn:weir:protocol:v1#/$defs/${name}`, value);

const messageSchemas: TSchema[] = [
  ...Object.values(commandSchemas),
  ...Object.values(replySchemas),
  ...Object.values(pushSchemas),
];

/** Values that a schema accepts. */
const valuesOf = (schema: TSchema): fc.Arbitrary<unknown> => {
  switch (schema[Kind]) {
    case 'Literal':
      return fc.constant(schema['const']);
    case 'Null':
      return fc.constant(null);
    case 'Boolean':
      return fc.boolean();
    case 'Integer':
      return fc.maxSafeInteger().map((value) => {
        const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = schema as {
          minimum?: number;
          maximum?: number;
        };
        return Math.min(maximum, Math.max(minimum, value));
      });
    case 'Number':
      return fc
        .double({ min: (schema['minimum'] as number | undefined) ?? -1e9, max: 1e12, noNaN: true })
        .map((value) => value + 0);
    case 'String':
      return schema['pattern'] === undefined
        ? fc.string({
            minLength: (schema['minLength'] as number | undefined) ?? 0,
            maxLength: Math.min(64, (schema['maxLength'] as number | undefined) ?? 64),
          })
        : fc.stringMatching(new RegExp(schema['pattern'] as string));
    case 'Array':
      return fc.array(valuesOf(schema['items'] as TSchema), {
        minLength: (schema['minItems'] as number | undefined) ?? 0,
        maxLength: 3,
      });
    case 'Union':
      return fc.oneof(...(schema['anyOf'] as TSchema[]).map(valuesOf));
    case 'Object': {
      const properties = schema['properties'] as Record<string, TSchema>;
      const requiredKeys = Object.keys(properties).filter((name) => properties[name]![OptionalKind] !== 'Optional');
      const record = Object.fromEntries(
        Object.entries(properties).map(([name, property]) => [name, valuesOf(property)]),
      );
      return fc.record(record, { requiredKeys });
    }
    default:
      return fc.jsonValue();
  }
};

/** A value with one field removed or replaced. */
const mutated = (schema: TSchema): fc.Arbitrary<unknown> =>
  fc
    .tuple(
      valuesOf(schema),
      fc.constantFrom(...Object.keys(schema['properties'] as object)),
      fc.option(fc.jsonValue(), { nil: undefined }),
    )
    .map(([value, name, other]) => {
      const rest = Object.entries(value as object).filter(([key]) => key !== name);
      return Object.fromEntries(other === undefined ? rest : [...rest, [name, other]]);
    });

const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe.each(messageSchemas.map((schema) => [definitionName(schema.$id ?? ''), schema] as const))(
  '%s',
  (name, schema) => {
    const { check, validate } = createValidator(schema);

    it('survives the way through JSON when it is valid', () => {
      fc.assert(
        fc.property(valuesOf(schema), (value) => {
          const received = throughJson(value);
          expect(validate(received)).toEqual({ kind: 'valid', value: received });
          expect(validateAs(name, received)).toBe(true);
        }),
        { numRuns: 25 },
      );
    });

    it('is judged alike by the compiled validator and by the exported schema when it is damaged', () => {
      fc.assert(
        fc.property(mutated(schema), (value) => {
          const received = throughJson(value);
          expect(check(received)).toBe(validateAs(name, received));
        }),
        { numRuns: 25 },
      );
    });
  },
);

describe('the exported document', () => {
  it('has one definition per command, reply and push', () => {
    const names = messageSchemas.map((schema) => definitionName(schema.$id ?? ''));
    expect(new Set(names).size).toBe(messageSchemas.length);
    expect(Object.keys(document['$defs'] as object)).toEqual(expect.arrayContaining(names));
  });

  it.each([publishBodySchema, batchBodySchema, statsSchema, explainAnswerSchema])(
    'describes the HTTP body $$id',
    (schema) => {
      const name = definitionName(schema.$id ?? '');
      fc.assert(
        fc.property(valuesOf(schema), (value) => {
          const received = throughJson(value);
          expect(createValidator(schema).check(received)).toBe(true);
          // The exported schema also knows that exactly one of `channel` and `channels` is given.
          if (schema === statsSchema || schema === explainAnswerSchema) expect(validateAs(name, received)).toBe(true);
        }),
        { numRuns: 25 },
      );
    },
  );

  it('refuses a publish body with both or neither of channel and channels', () => {
    expect(validateAs('PublishBody', { channel: 'a', data: 1 })).toBe(true);
    expect(validateAs('PublishBody', { channel: 'a', channels: ['b'], data: 1 })).toBe(false);
    expect(validateAs('PublishBody', { data: 1 })).toBe(false);
  });

  it('bounds the commands of a frame', () => {
    const ping = { type: 'ping' };
    expect(validateAs('ClientFrame', ping)).toBe(true);
    expect(validateAs('ClientFrame', new Array(64).fill(ping))).toBe(true);
    expect(validateAs('ClientFrame', new Array(65).fill(ping))).toBe(false);
    expect(validateAs('ClientFrame', [])).toBe(false);
  });

  it('is the committed docs/weir.schema.json (else run protocol/generate.ts)', async () => {
    const committed = await readFile(new URL('../docs/weir.schema.json', import.meta.url), 'utf8');
    expect(JSON.parse(committed)).toEqual(throughJson(document));
  });
});
