// Validators compiled from schemas, whose problems name the field, the expectation and what was got.
import type { Static, TSchema } from '@sinclair/typebox';
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import { expectationOf, isSecretField, showValue, typeNameOf } from './expectation.ts';

/** Problems reported for one value; the rest is not looked for. */
const MAX_PROBLEMS = 10;

export interface Problem {
  /** Where: `since.offset`, `commands[3].publish.channel`; empty for the value itself. */
  readonly path: string;
  readonly expected: string;
  /** The received value as JSON, at most 40 characters; `nothing` when absent; only the type for secrets. */
  readonly got: string;
}

export type Validation<T> =
  | { readonly kind: 'valid'; readonly value: T }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] };

export interface Validator<T> {
  /** One compiled check, no allocation. */
  readonly check: (value: unknown) => value is T;
  /** The value itself (not a copy: unknown fields stay), or 1–10 problems. Never throws. */
  readonly validate: (value: unknown) => Validation<T>;
}

interface Place {
  readonly path: string;
  readonly isSecret: boolean;
}

/** `/commands/3/publish/channel` → `commands[3].publish.channel`. */
const placeOf = (pointer: string): Place => {
  let path = '';
  let isSecret = false;
  for (const segment of pointer.split('/').slice(1)) {
    if (/^\d+$/.test(segment)) path += `[${segment}]`;
    else path += path === '' ? segment : `.${segment}`;
    isSecret = isSecretField(segment);
  }
  return { path, isSecret };
};

const problemsOf = (compiled: TypeCheck<TSchema>, value: unknown): Problem[] => {
  const byPath = new Map<string, Problem>();
  for (const error of compiled.Errors(value)) {
    if (byPath.has(error.path)) continue;
    const { path, isSecret } = placeOf(error.path);
    const got = isSecret ? typeNameOf(error.value) : showValue(error.value);
    byPath.set(error.path, { path, expected: expectationOf(error.schema), got });
    if (byPath.size >= MAX_PROBLEMS) break;
  }
  return [...byPath.values()];
};

/** A validator of a schema, compiled at its first use. */
export const createValidator = <S extends TSchema>(schema: S): Validator<Static<S>> => {
  let compiled: TypeCheck<S> | undefined;
  const check = (value: unknown): value is Static<S> => (compiled ??= TypeCompiler.Compile(schema)).Check(value);
  return {
    check,
    validate: (value) =>
      check(value) ? { kind: 'valid', value } : { kind: 'invalid', problems: problemsOf(compiled!, value) },
  };
};

/** One line: `channel: expected channel name (…), got ""; limit: expected integer 1-1000, got 0`. */
export const describeProblems = (problems: readonly Problem[]): string =>
  problems
    .map(({ path, expected, got }) => `${path === '' ? '' : `${path}: `}expected ${expected}, got ${got}`)
    .join('; ');
