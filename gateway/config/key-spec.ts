// What one configuration key is: schema, written form, default, secrecy and meaning as data.
import { Type, type TSchema } from '@sinclair/typebox';
import { apiKeyEntrySchema, type ApiKeyEntry } from '../access/api-key-entries.ts';
import type { Rate } from '../access/limits/rate.ts';

export type Profile = 'development' | 'production';

/** How a value is written: decides how text becomes a value and what messages and documents call it. */
type Form =
  | 'integer'
  | 'duration'
  | 'bytes'
  | 'rate'
  | 'byte-rate'
  | 'boolean'
  | 'choice'
  | 'text'
  | 'list'
  | 'api-keys';

/** What a default may depend on. */
export interface DefaultContext {
  readonly profile: Profile;
  readonly hostname: string;
  /** Characters of `a-z0-9`, unpredictable. */
  readonly randomId: (length: number) => string;
  /** What the container or else the machine may use, bytes. */
  readonly memoryLimitBytes: number;
}

export type Default<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'profile'; readonly development: T; readonly production: T }
  | { readonly kind: 'computed'; readonly text: string; readonly compute: (context: DefaultContext) => T }
  /** The key stays undefined; `text` says what that means. */
  | { readonly kind: 'none'; readonly text: string };

export interface KeySpec<V = unknown> {
  readonly schema: TSchema;
  readonly form: Form;
  /** What a value must be, for messages and documents. */
  readonly expected: string;
  /** A rule the schema cannot say, asked only of values that passed the schema. `expected` describes it. */
  readonly accepts: ((value: never) => boolean) | undefined;
  readonly default: Default<unknown>;
  /** `url`: only the password inside is secret. */
  readonly secret: 'no' | 'yes' | 'url';
  readonly description: string;
  /** Never set: carries the type a key has in `Config`. */
  readonly types?: { readonly value: V };
}

/** A key without default may be undefined. */
type Present<T, D> = D extends { readonly kind: 'none' } ? T | undefined : T;

interface About<D> {
  readonly default: D;
  readonly description: string;
  readonly secret?: 'yes' | 'url';
}

interface Shape<T> {
  readonly schema: TSchema;
  readonly form: Form;
  readonly expected: string;
  readonly accepts?: (value: T) => boolean;
}

const spec = <T, D extends Default<T>>(shape: Shape<T>, about: About<D>): KeySpec<Present<T, D>> => ({
  ...shape,
  accepts: shape.accepts,
  default: about.default,
  secret: about.secret ?? 'no',
  description: about.description,
});

/** What a key is when nobody set it. */
export const defaultOf = (key: KeySpec, context: DefaultContext): unknown => {
  switch (key.default.kind) {
    case 'value':
      return key.default.value;
    case 'profile':
      return key.default[context.profile];
    case 'computed':
      return key.default.compute(context);
    case 'none':
      return undefined;
  }
};

export const value = <const T>(given: T) => ({ kind: 'value', value: given }) as const;
export const none = (text: string) => ({ kind: 'none', text }) as const;

const span = (min: number, max: number): string => `${min}–${max}`;

export const integer = <D extends Default<number>>(
  min: number,
  max: number,
  about: About<D>,
): KeySpec<Present<number, D>> =>
  spec(
    { schema: Type.Integer({ minimum: min, maximum: max }), form: 'integer', expected: `an integer ${span(min, max)}` },
    about,
  );

/** Milliseconds, or text such as `10m`. */
export const duration = <D extends Default<number>>(
  minMs: number,
  maxMs: number,
  about: About<D>,
): KeySpec<Present<number, D>> =>
  spec(
    {
      schema: Type.Integer({ minimum: minMs, maximum: maxMs }),
      form: 'duration',
      expected: `a duration of ${span(minMs, maxMs)} ms (a number of ms, or 500ms, 2s, 10m, 1h, 1d)`,
    },
    about,
  );

/** Bytes, or text such as `64KiB`. */
export const bytes = <D extends Default<number>>(
  min: number,
  max: number,
  about: About<D>,
): KeySpec<Present<number, D>> =>
  spec(
    {
      schema: Type.Integer({ minimum: min, maximum: max }),
      form: 'bytes',
      expected: `a size of ${span(min, max)} bytes (a number of bytes, or 64KiB, 1MB, 2GiB)`,
    },
    about,
  );

const MAX_RATE_PERIOD_MS = 3_600_000;

const rateOf = <D extends Default<Rate>>(
  form: 'rate' | 'byte-rate',
  maxCount: number,
  expected: string,
  about: About<D>,
): KeySpec<Present<Rate, D>> =>
  spec(
    {
      schema: Type.Object({
        count: Type.Integer({ minimum: 1, maximum: maxCount }),
        perMs: Type.Integer({ minimum: 1000, maximum: MAX_RATE_PERIOD_MS }),
      }),
      form,
      expected,
    },
    about,
  );

/** `200/10s`: 200 at once, refilled evenly over 10 s. */
export const rate = <D extends Default<Rate>>(about: About<D>): KeySpec<Present<Rate, D>> =>
  rateOf(
    'rate',
    1_000_000_000,
    'a count and a time of whole seconds up to 1 h, such as 100/1m, 50/s or 500/10s',
    about,
  );

/** As `rate`, in bytes: `16MiB/10s`. */
export const byteRate = <D extends Default<Rate>>(about: About<D>): KeySpec<Present<Rate, D>> =>
  rateOf('byte-rate', 2 ** 40, 'a size and a time of whole seconds up to 1 h, such as 1MiB/s or 16MiB/10s', about);

export const flag = <D extends Default<boolean>>(about: About<D>): KeySpec<Present<boolean, D>> =>
  spec({ schema: Type.Boolean(), form: 'boolean', expected: 'true or false' }, about);

export const choice = <const C extends readonly string[], D extends Default<C[number]>>(
  choices: C,
  about: About<D>,
): KeySpec<Present<C[number], D>> =>
  spec(
    {
      schema: Type.Union(choices.map((name) => Type.Literal(name))),
      form: 'choice',
      expected: `${choices.slice(0, -1).join(', ')} or ${choices.at(-1) ?? ''}`,
    },
    about,
  );

/** Text that keeps a rule; `expected` says which. */
export const text = <D extends Default<string>>(
  expected: string,
  accepts: (value: string) => boolean,
  about: About<D>,
): KeySpec<Present<string, D>> =>
  spec({ schema: Type.String({ minLength: 1, maxLength: 4096 }), form: 'text', expected, accepts }, about);

/** A comma list in the environment, a list in a file. */
export const list = <D extends Default<readonly string[]>>(
  expected: string,
  accepts: (item: string) => boolean,
  about: About<D>,
): KeySpec<Present<readonly string[], D>> =>
  spec(
    {
      schema: Type.Array(Type.String()),
      form: 'list',
      expected,
      accepts: (items: readonly string[]) => items.every(accepts),
    },
    about,
  );

/** A comma list in which every item is one of `choices`. */
export const choices = <const C extends readonly string[], D extends Default<readonly C[number][]>>(
  allowed: C,
  about: About<D>,
): KeySpec<Present<readonly C[number][], D>> =>
  spec(
    {
      schema: Type.Array(Type.Union(allowed.map((name) => Type.Literal(name))), { minItems: 1 }),
      form: 'list',
      expected: `a list out of ${allowed.join(', ')}`,
    },
    about,
  );

export const apiKeyList = <D extends Default<readonly ApiKeyEntry[]>>(
  about: About<D>,
): KeySpec<Present<readonly ApiKeyEntry[], D>> =>
  spec(
    {
      schema: Type.Array(apiKeyEntrySchema),
      form: 'api-keys',
      expected: 'name=secret[:scope+scope] or name=sha256:<hex>[:scope+scope], separated by commas',
    },
    about,
  );

export type ValuesOf<T> = { readonly [K in keyof T]: T[K] extends KeySpec<infer V> ? V : never };
