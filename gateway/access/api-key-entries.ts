// API keys as an operator writes them, turned into entries that hold only hashes.
import { hash } from 'node:crypto';
import { Type, type Static } from '@sinclair/typebox';
import { isChannelPattern } from './channel-pattern.ts';

export const API_KEY_SCOPES = ['publish', 'read', 'manage', 'metrics'] as const;
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

/** Longest secret, characters: what is presented is hashed only up to this length, so that a header flood stays cheap. */
export const MAX_API_KEY_LENGTH = 512;

export const apiKeyEntrySchema = Type.Object({
  name: Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }),
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  scopes: Type.Array(Type.Union(API_KEY_SCOPES.map((scope) => Type.Literal(scope)))),
  channels: Type.Array(Type.String()),
  /** Why the secret is too weak for production; absent when it is not, or unknown because only the hash was given. */
  weakness: Type.Optional(Type.String()),
});
type EntryShape = Static<typeof apiKeyEntrySchema>;
export interface ApiKeyEntry extends Readonly<Omit<EntryShape, 'scopes' | 'channels'>> {
  readonly scopes: readonly ApiKeyScope[];
  readonly channels: readonly string[];
}

export interface ParsedApiKeys {
  readonly entries: readonly ApiKeyEntry[];
  /** Each says what was expected; none contains a secret. */
  readonly problems: readonly string[];
}

const namePattern = /^[A-Za-z0-9_.-]{1,64}$/;
const hexPattern = /^[0-9a-f]{64}$/i;
const fieldNames = ['name', 'secret', 'sha256', 'scopes', 'channels'];
const scopeList = API_KEY_SCOPES.join(', ');

const sha256Hex = (secret: string): string => hash('sha256', secret, 'hex');

/** Marks secrets a development node generates, so that production can refuse a copied one. */
export const DEVELOPMENT_SECRET_PREFIX = 'weir-dev-';
const guessable = new Set([
  'secret',
  'changeme',
  'change-me',
  'password',
  'test',
  'dev',
  'development',
  'apikey',
  'key',
]);

const guessableHashes = new Set([...guessable].map(sha256Hex));

/** Why a secret must not protect production, or undefined. `minBytes` is the shortest that is accepted. */
export const weaknessOf = (secret: string, minBytes: number): string | undefined => {
  if (secret.startsWith(DEVELOPMENT_SECRET_PREFIX)) return 'is a generated development secret';
  if (guessable.has(secret.toLowerCase())) return 'is a well-known placeholder';
  if (Buffer.byteLength(secret) < minBytes) return `is shorter than ${minBytes} bytes`;
  return undefined;
};
const MIN_API_KEY_BYTES = 16;

const isScope = (scope: unknown): scope is ApiKeyScope => (API_KEY_SCOPES as readonly unknown[]).includes(scope);

type Credential = { readonly secret: string } | { readonly sha256: string };

const entryOf = (
  name: string,
  credential: Credential,
  scopes: readonly ApiKeyScope[],
  channels: readonly string[],
): ApiKeyEntry => {
  const hashed = 'sha256' in credential;
  const sha256 = hashed ? credential.sha256.toLowerCase() : sha256Hex(credential.secret);
  const weakness = hashed
    ? guessableHashes.has(sha256) && 'is a well-known placeholder'
    : weaknessOf(credential.secret, MIN_API_KEY_BYTES);
  return { name, sha256, scopes, channels, ...(weakness && { weakness }) };
};

/** An entry for a secret the node generated for itself: every scope, every channel. */
export const generatedApiKeyEntry = (name: string, secret: string): ApiKeyEntry =>
  entryOf(name, { secret }, API_KEY_SCOPES, ['*']);

const credentialProblem = (credential: Credential): string | undefined => {
  if ('sha256' in credential) {
    return hexPattern.test(credential.sha256) ? undefined : 'expected sha256 to be 64 hexadecimal digits';
  }
  const { secret } = credential;
  if (secret.length === 0 || secret.length > MAX_API_KEY_LENGTH || !/^[\x21-\x7e]+$/.test(secret)) {
    return `expected a secret of 1–${MAX_API_KEY_LENGTH} visible ASCII characters`;
  }
  return undefined;
};

/** One `name=secret[:scope+scope]` or `name=sha256:<hex>[:scope+scope]`. */
const parseEntry = (text: string, place: string): ApiKeyEntry | string => {
  const equals = text.indexOf('=');
  const name = text.slice(0, Math.max(equals, 0)).trim();
  if (!namePattern.test(name)) return `${place}: expected name=secret[:scope+scope] with a name of A-Za-z0-9_.-`;
  const parts = text.slice(equals + 1).split(':');
  const hashed = parts[0] === 'sha256';
  const [value = '', scopeText, ...rest] = hashed ? parts.slice(1) : parts;
  if (rest.length > 0) return `key ${name}: expected at most one ":" after the secret; a secret cannot contain one`;
  const credential: Credential = hashed ? { sha256: value } : { secret: value };
  const problem = credentialProblem(credential);
  if (problem !== undefined) return `key ${name}: ${problem}`;
  if (scopeText === undefined) return entryOf(name, credential, API_KEY_SCOPES, ['*']);
  const scopes = scopeText.split('+').map((scope) => scope.trim());
  if (!scopes.every(isScope)) return `key ${name}: expected scopes out of ${scopeList} after ":", joined by "+"`;
  return entryOf(name, credential, [...new Set(scopes)], ['*']);
};

const parseScopes = (value: unknown): readonly ApiKeyScope[] | string => {
  if (value === undefined || value === null) return API_KEY_SCOPES;
  if (!Array.isArray(value) || value.length === 0 || !value.every(isScope)) {
    return `expected scopes to be a non-empty list out of ${scopeList} (leave it out for all)`;
  }
  return [...new Set(value)];
};

const parseChannels = (value: unknown): readonly string[] | string => {
  if (value === undefined || value === null) return ['*'];
  const valid = (pattern: unknown): pattern is string => typeof pattern === 'string' && isChannelPattern(pattern);
  if (!Array.isArray(value) || value.length === 0 || !value.every(valid)) {
    return 'expected channels to be a non-empty list of channels, "ns:*" or "*" (leave it out for all)';
  }
  return [...new Set(value)];
};

/** One `{name, secret | sha256, scopes?, channels?}`. */
const parseRecord = (record: ReadonlyMap<unknown, unknown>, place: string): ApiKeyEntry | string => {
  const name = record.get('name');
  if (typeof name !== 'string' || !namePattern.test(name)) return `${place}: expected a name of A-Za-z0-9_.-`;
  if ([...record.keys()].some((field) => !fieldNames.includes(field as string))) {
    return `key ${name}: has an unknown field; known: ${fieldNames.join(', ')}`;
  }
  const secret = record.get('secret');
  const sha256 = record.get('sha256');
  const credential =
    typeof secret === 'string' && sha256 === undefined
      ? { secret }
      : typeof sha256 === 'string' && secret === undefined
        ? { sha256 }
        : undefined;
  if (credential === undefined) return `key ${name}: expected exactly one of secret and sha256, as text`;
  const scopes = parseScopes(record.get('scopes'));
  const channels = parseChannels(record.get('channels'));
  const problem = [credentialProblem(credential), scopes, channels].find((part) => typeof part === 'string');
  if (problem !== undefined || typeof scopes === 'string' || typeof channels === 'string') {
    return `key ${name}: ${String(problem)}`;
  }
  return entryOf(name, credential, scopes, channels);
};

const collect = (parsed: readonly (ApiKeyEntry | string)[]): ParsedApiKeys => {
  const entries = parsed.filter((entry) => typeof entry !== 'string');
  const problems = parsed.filter((entry) => typeof entry === 'string');
  const names = new Set<string>();
  const holders = new Map<string, string>();
  for (const { name, sha256 } of entries) {
    if (names.has(name)) problems.push(`key ${name}: the name is given twice`);
    const holder = holders.get(sha256);
    if (holder !== undefined && holder !== name) problems.push(`key ${name}: has the same secret as key ${holder}`);
    names.add(name);
    holders.set(sha256, name);
  }
  return { entries, problems };
};

/** Parses the form of `WEIR_API_KEYS`: entries separated by commas, in a file also by lines. No scopes: all of them. */
export const parseApiKeys = (text: string): ParsedApiKeys =>
  collect(
    text
      .split(/[,\r\n]/)
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .map((part, index) => parseEntry(part, `entry ${index + 1}`)),
  );

/** Parses the list form of a file: maps, or texts of the same form as in the environment. */
export const parseApiKeyList = (list: readonly unknown[]): ParsedApiKeys =>
  collect(
    list.map((item, index) => {
      const place = `entry ${index + 1}`;
      if (typeof item === 'string') return parseEntry(item, place);
      if (item instanceof Map) return parseRecord(item, place);
      return `${place}: expected {name, secret or sha256, scopes, channels}`;
    }),
  );
