// One raw value, from the environment or a file, becomes a typed one or a line that says what was expected.
import { Value } from '@sinclair/typebox/value';
import ms, { type StringValue } from 'ms';
import { parseApiKeyList, parseApiKeys } from '../access/api-key-entries.ts';
import { parseRate } from '../access/limits/rate.ts';
import type { KeySpec } from './key-spec.ts';

export type Parsed =
  | { readonly kind: 'ok'; readonly value: unknown }
  /** Without the place, which the caller knows. Never contains a secret. */
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

const byteUnits: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  ki: 1024,
  mi: 1024 ** 2,
  gi: 1024 ** 3,
  ti: 1024 ** 4,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

const flags: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
};

const integerOf = (text: string): unknown => (/^[+-]?\d{1,20}$/.test(text) ? Number(text) : text);

const bytesOf = (text: string): unknown => {
  const [, amount, unit = 'b'] = /^(\d{1,20}(?:\.\d{1,10})?)\s*([A-Za-z]{1,3})?$/.exec(text) ?? [];
  const factor = Object.hasOwn(byteUnits, unit.toLowerCase()) ? byteUnits[unit.toLowerCase()] : undefined;
  return amount === undefined || factor === undefined ? text : Math.round(Number(amount) * factor);
};

const durationOf = (text: string): unknown =>
  /^\d{1,20}(?:\.\d{1,10})?\s*(?:ms|s|m|h|d)?$/.test(text) ? Math.round(ms(text as StringValue)) : text;

const flagOf = (text: string): unknown => (Object.hasOwn(flags, text.toLowerCase()) ? flags[text.toLowerCase()] : text);

const itemsOf = (text: string): string[] =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

/** Text in the written form of the key becomes the value it stands for; whatever is not in that form stays as it is. */
const decode = (form: KeySpec['form'], raw: unknown): unknown => {
  if (typeof raw !== 'string') return raw;
  const text = raw.trim();
  switch (form) {
    case 'integer':
      return integerOf(text);
    case 'bytes':
      return bytesOf(text);
    case 'duration':
      return durationOf(text);
    case 'rate':
      return parseRate(text, integerOf) ?? raw;
    case 'byte-rate':
      return parseRate(text, bytesOf) ?? raw;
    case 'boolean':
      return flagOf(text);
    case 'list':
      return itemsOf(text);
    case 'choice':
      return text;
    case 'text':
    case 'api-keys':
      return raw;
  }
};

const MAX_SHOWN = 60;

const shorten = (text: string): string => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);

const showScalar = (raw: unknown): string => {
  switch (typeof raw) {
    case 'string':
      return JSON.stringify(raw);
    case 'number':
    case 'boolean':
    case 'bigint':
      return String(raw);
    default:
      if (raw === undefined || raw === null) return 'nothing';
      return Array.isArray(raw) ? 'a list' : 'a mapping';
  }
};

/** What was got, short and on one line. Secrets are described, not shown. */
const show = (raw: unknown, secret: KeySpec['secret']): string => {
  if (secret !== 'no' && (typeof raw === 'string' || typeof raw === 'number')) return 'a value that is not shown';
  if (secret === 'no' && Array.isArray(raw)) return shorten(`[${raw.map(showScalar).join(', ')}]`);
  return shorten(showScalar(raw));
};

const parseKeys = (raw: unknown): Parsed | undefined => {
  if (typeof raw !== 'string' && !Array.isArray(raw)) return undefined;
  const { entries, problems } = typeof raw === 'string' ? parseApiKeys(raw) : parseApiKeyList(raw);
  return problems.length === 0 ? { kind: 'ok', value: entries } : { kind: 'invalid', problems };
};

/** Never throws, whatever `raw` is. */
export const parseValue = (spec: KeySpec, raw: unknown): Parsed => {
  const invalid: Parsed = { kind: 'invalid', problems: [`expected ${spec.expected}, got ${show(raw, spec.secret)}`] };
  if (spec.form === 'api-keys') return parseKeys(raw) ?? invalid;
  const value = decode(spec.form, raw);
  if (!Value.Check(spec.schema, value)) return invalid;
  // The schema has just established the type that `accepts` takes.
  return spec.accepts === undefined || spec.accepts(value as never) ? { kind: 'ok', value } : invalid;
};
