// Values of a JSON Schema, right and nearly right, for fast-check.
import fc from 'fast-check';

export type JsonSchema = Readonly<Record<string, unknown>>;
type Json = fc.JsonValue;

const MAX_DEPTH = 4;
/** Few names, so that requests meet each other's channels, and a fuzzed node keeps few of them. */
const CHANNELS = Array.from({ length: 12 }, (_, index) => `${index % 3 === 0 ? 'fuzz:' : ''}channel-${index}`);

const isChannelPattern = (pattern: unknown): boolean =>
  typeof pattern === 'string' && pattern.startsWith('^[A-Za-z0-9_');

const textOf = ({ pattern, minLength = 0, maxLength = 40 }: JsonSchema): fc.Arbitrary<Json> => {
  if (isChannelPattern(pattern)) return fc.constantFrom(...CHANNELS);
  if (typeof pattern === 'string') return fc.stringMatching(new RegExp(pattern));
  return fc.string({ unit: 'binary', minLength: Number(minLength), maxLength: Math.min(Number(maxLength), 60) });
};

/** Values that the schema allows; `resolve` finds what a `$ref` names. */
export const valid = (schema: JsonSchema, resolve: (ref: string) => JsonSchema, depth = 0): fc.Arbitrary<Json> => {
  const inner = (part: unknown): fc.Arbitrary<Json> => valid(part as JsonSchema, resolve, depth + 1);
  if (typeof schema['$ref'] === 'string') return valid(resolve(schema['$ref']), resolve, depth);
  const choices = schema['anyOf'] ?? schema['oneOf'];
  if (Array.isArray(choices)) return fc.oneof(...choices.map(inner));
  if ('const' in schema) return fc.constant(schema['const'] as Json);
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...(schema['enum'] as Json[]));
  switch (schema['type']) {
    case 'string':
      return textOf(schema);
    case 'integer':
      return fc.integer({
        min: Number(schema['minimum'] ?? -1000),
        max: Math.min(Number(schema['maximum'] ?? 1000), 2 ** 31 - 1),
      });
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array': {
      const maxLength = depth > MAX_DEPTH ? 0 : Math.min(Number(schema['maxItems'] ?? 5), 5);
      return fc.array(inner(schema['items'] ?? {}), {
        minLength: Math.min(Number(schema['minItems'] ?? 0), 5),
        maxLength,
      });
    }
    case 'object': {
      const properties = (schema['properties'] ?? {}) as Record<string, unknown>;
      const shape = Object.fromEntries(Object.entries(properties).map(([name, part]) => [name, inner(part)]));
      return fc.record(shape, { requiredKeys: (schema['required'] ?? []) as string[] }).map((members) => {
        // What the schemas say in prose: a publication goes to one channel or to several.
        if ('channel' in members && 'channels' in members) delete members['channels'];
        return members;
      });
    }
    default:
      return fc.jsonValue({ maxDepth: 3 });
  }
};

/** What breaks programs that trust their input. */
const hostile = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<Json>(
    ...[null, true, '', ' ', '\0', 0, -1, 1.5, -0, 2 ** 31, 2 ** 53, Number.MAX_VALUE, '__proto__', 'constructor', '*'],
    ...['a'.repeat(5_000), '\ud800', 'ä', '💥', '../..', '%00', '{user}', [], {}, [[]], { then: 1 }, { toJSON: 1 }],
  ),
);

interface Place {
  replace(value: Json | undefined): void;
}

const placesOf = (value: Json, replace: (value: Json | undefined) => void): Place[] => {
  const here: Place[] = [{ replace }];
  if (typeof value !== 'object' || value === null) return here;
  const members = value as Record<string, Json>;
  return here.concat(
    Object.keys(members).flatMap((name) =>
      placesOf(members[name]!, (given) => {
        if (given === undefined) Reflect.deleteProperty(members, name);
        else members[name] = given;
      }),
    ),
  );
};

/** Values of `base` in which one or two places were replaced, removed, or given a member nobody asked for. */
export const nearly = (base: fc.Arbitrary<Json>): fc.Arbitrary<Json> => {
  const change = fc.record({
    at: fc.nat(),
    what: fc.oneof({ weight: 4, arbitrary: hostile }, { weight: 1, arbitrary: fc.constant(undefined) }),
    extra: fc.option(fc.constantFrom('__proto__', 'constructor', 'type', 'id', 'toString', 'x'), { freq: 4 }),
  });
  return fc.tuple(base, fc.array(change, { minLength: 1, maxLength: 2 })).map(([value, changes]) => {
    let result = structuredClone(value);
    for (const { at, what: shared, extra } of changes) {
      // Later changes must not reach into what fast-check will hand out again.
      const what = structuredClone(shared);
      const places = placesOf(result, (given) => {
        result = given ?? null;
      });
      if (extra !== null && typeof result === 'object' && result !== null) {
        Object.defineProperty(result, extra, {
          value: what ?? null,
          enumerable: true,
          configurable: true,
          writable: true,
        });
      } else places[at % places.length]!.replace(what);
    }
    return result;
  });
};
