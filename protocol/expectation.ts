// Words for schemas and values: what a field expects, and what it got without ever showing a secret.
import { Kind, type TSchema } from '@sinclair/typebox';

/** Longest rendering of a received value, characters. */
const MAX_SHOWN = 40;
/** Fields whose value never appears in a message, wherever they stand. */
const SECRET_FIELDS: ReadonlySet<string> = new Set(['token']);

export const isSecretField = (name: string): boolean => SECRET_FIELDS.has(name);

const range = (minimum: unknown, maximum: unknown): string => {
  const low = typeof minimum === 'number' ? minimum : undefined;
  const high = typeof maximum === 'number' && maximum < Number.MAX_SAFE_INTEGER ? maximum : undefined;
  if (low !== undefined && high !== undefined) return `${low}-${high}`;
  if (low !== undefined) return `${low} or more`;
  return high === undefined ? '' : `at most ${high}`;
};

const listed = (words: readonly string[]): string =>
  words.length < 2 ? (words[0] ?? '') : `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;

const withRange = (word: string, bounds: string, unit = ''): string =>
  bounds === '' ? word : `${word} ${bounds}${unit}`;

const shapeOf = (schema: TSchema): string => {
  switch (schema[Kind]) {
    case 'Literal':
      return JSON.stringify(schema['const']);
    case 'Null':
      return 'null';
    case 'Boolean':
      return 'true or false';
    case 'Integer':
      return withRange('integer', range(schema['minimum'], schema['maximum']));
    case 'Number':
      return withRange('number', range(schema['minimum'], schema['maximum']));
    case 'String': {
      const bounds = range(schema['minLength'], schema['maxLength']);
      return bounds === '' ? 'string' : `string of ${bounds} characters`;
    }
    case 'Array': {
      const bounds = range(schema['minItems'], schema['maxItems']);
      return bounds === '' ? 'array' : `array of ${bounds} items`;
    }
    case 'Union':
      return listed((schema['anyOf'] as TSchema[]).map(expectationOf));
    case 'Object':
      return 'object';
    default:
      return 'any JSON value';
  }
};

/** One readable phrase for what a schema accepts, e.g. `command id (integer 1-2147483647)`. */
export const expectationOf = (schema: TSchema): string => {
  const { description } = schema;
  if (description === undefined) return shapeOf(schema);
  const isLiteralUnion =
    schema[Kind] === 'Union' && (schema['anyOf'] as TSchema[]).every((member) => member[Kind] === 'Literal');
  // A pattern, an object or a mixed union says more in its description than in its structure.
  if (schema['pattern'] !== undefined || ['Object', 'Unknown'].includes(schema[Kind])) return description;
  if (schema[Kind] === 'Union' && !isLiteralUnion) return description;
  return `${description} (${shapeOf(schema)})`;
};

/** Type of a received value in words, for secrets. */
export const typeNameOf = (value: unknown): string => {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
};

function* unnamed(items: readonly unknown[]): Generator<readonly [undefined, unknown]> {
  for (const item of items) yield [undefined, item];
}

/**
 * A received value as JSON, cut to 40 characters. Stops at the cut, so that neither a huge nor a deeply nested value
 * costs more than its beginning; values of secret fields show only their type.
 */
export const showValue = (value: unknown): string => {
  if (value === undefined) return 'nothing';
  let text = '';
  const isFull = (): boolean => text.length > MAX_SHOWN;
  const writeMembers = (
    open: string,
    close: string,
    members: Iterable<readonly [string | undefined, unknown]>,
  ): void => {
    text += open;
    let separator = '';
    for (const [key, member] of members) {
      if (isFull()) return;
      text += separator;
      separator = ',';
      if (key !== undefined) text += `${JSON.stringify(key.slice(0, MAX_SHOWN))}:`;
      if (key !== undefined && isSecretField(key)) text += typeNameOf(member);
      else write(member);
    }
    text += close;
  };
  const write = (part: unknown): void => {
    if (isFull()) return;
    if (typeof part === 'string') {
      const shown = JSON.stringify(part.slice(0, MAX_SHOWN));
      text += part.length > MAX_SHOWN ? shown.slice(0, -1) : shown;
    } else if (Array.isArray(part)) {
      writeMembers('[', ']', unnamed(part));
    } else if (typeof part === 'object' && part !== null) writeMembers('{', '}', Object.entries(part));
    else text += typeof part === 'function' || typeof part === 'symbol' ? typeof part : String(part);
  };
  write(value);
  return isFull() ? `${text.slice(0, MAX_SHOWN - 1)}…` : text;
};
