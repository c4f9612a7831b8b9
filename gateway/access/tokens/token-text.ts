// Takes a token apart before any cryptography: what is no well-formed JWT of a known family never reaches a key.
import { repeatedMember } from './repeated-member.ts';

/** Longest token, characters; the schema of `connect` and `refresh` says the same. */
export const MAX_TOKEN_LENGTH = 16_384;
/** Longest key id, characters. */
const MAX_KEY_ID_LENGTH = 256;

/** The algorithms of RFC 7518 §3.1 that are served. `none` is not one of them. */
export const ALGORITHMS = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

export interface TokenParts {
  readonly algorithm: Algorithm;
  readonly keyId: string | undefined;
}

export type ParsedToken =
  | { readonly kind: 'parsed'; readonly parts: TokenParts }
  /** Without anything of the token in it. */
  | { readonly kind: 'malformed'; readonly message: string };

const segments = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)$/;
const utf8 = new TextDecoder('utf-8', { fatal: true });

const malformed = (message: string): ParsedToken => ({ kind: 'malformed', message });

/** A JSON object without repeated members (RFC 7519 §4), or what is wrong with it. */
const readObject = (segment: string, name: string): Readonly<Record<string, unknown>> | string => {
  let value: unknown;
  let text: string;
  try {
    text = utf8.decode(Buffer.from(segment, 'base64url'));
    value = JSON.parse(text);
  } catch {
    return `${name}: expected a JSON object`;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${name}: expected a JSON object`;
  if (repeatedMember(text)) return `${name}: expected every member once`;
  return value as Readonly<Record<string, unknown>>;
};

const isAlgorithm = (value: unknown): value is Algorithm => (ALGORITHMS as readonly unknown[]).includes(value);

/** Never throws. */
export const parseToken = (token: string): ParsedToken => {
  if (token.length > MAX_TOKEN_LENGTH) return malformed(`expected at most ${MAX_TOKEN_LENGTH} characters`);
  const [, header, payload, signature] = segments.exec(token) ?? [];
  if (header === undefined || payload === undefined) return malformed('expected a JSON Web Token in compact form');
  const head = readObject(header, 'header');
  if (typeof head === 'string') return malformed(head);
  const { alg: algorithm, kid: keyId, crit } = head;
  if (!isAlgorithm(algorithm)) return malformed(`header: expected alg to be one of ${ALGORITHMS.join(', ')}`);
  if (signature === '') return malformed('expected a signature');
  // RFC 7515 §4.1.11: extensions that must be understood, and none is.
  if (crit !== undefined) return malformed('header: expected no crit');
  if (keyId !== undefined && (typeof keyId !== 'string' || keyId.length > MAX_KEY_ID_LENGTH)) {
    return malformed(`header: expected kid to be text of at most ${MAX_KEY_ID_LENGTH} characters`);
  }
  const claims = readObject(payload, 'claims');
  if (typeof claims === 'string') return malformed(claims);
  return { kind: 'parsed', parts: { algorithm, keyId } };
};
