// The text of a token before and after its signature is checked: what is no well-formed JWT of a known family never reaches a key.
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

export interface TokenHeader {
  readonly algorithm: Algorithm;
  readonly keyId: string | undefined;
}

export type ParsedToken =
  | { readonly kind: 'parsed'; readonly header: TokenHeader }
  /** Without anything of the token in it. */
  | { readonly kind: 'malformed'; readonly message: string };

const segments = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;
const utf8 = new TextDecoder('utf-8', { fatal: true });
/** What a lenient decoder puts where bytes are no UTF-8; may also stand in the text itself. */
const REPLACEMENT = '\ufffd';

const malformed = (message: string): ParsedToken => ({ kind: 'malformed', message });

/** Throws for bytes that are no UTF-8. */
const decodeSegment = (segment: string): string => {
  const bytes = Buffer.from(segment, 'base64url');
  const text = bytes.toString();
  return text.includes(REPLACEMENT) ? utf8.decode(bytes) : text;
};

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Why a segment is no JSON object in which every member stands once (RFC 7519 §4), or its text. `parsed` is its value where
 * somebody has parsed it before.
 */
const objectProblem = (segment: string, parsed?: unknown): { readonly problem: string } | { readonly text: string } => {
  try {
    const text = decodeSegment(segment);
    // A lenient parser made an object of it: then it is the same text, or not UTF-8 and refused above.
    if (!isObject(parsed) && !isObject(JSON.parse(text))) return { problem: 'expected a JSON object' };
    return repeatedMember(text) ? { problem: 'expected every member once' } : { text };
  } catch {
    return { problem: 'expected a JSON object' };
  }
};

const isAlgorithm = (value: unknown): value is Algorithm => (ALGORITHMS as readonly unknown[]).includes(value);

const readHeader = (segment: string): ParsedToken => {
  const read = objectProblem(segment);
  if ('problem' in read) return malformed(`header: ${read.problem}`);
  const { alg: algorithm, kid: keyId, crit } = JSON.parse(read.text) as Readonly<Record<string, unknown>>;
  if (!isAlgorithm(algorithm)) return malformed(`header: expected alg to be one of ${ALGORITHMS.join(', ')}`);
  // RFC 7515 §4.1.11: extensions that must be understood, and none is.
  if (crit !== undefined) return malformed('header: expected no crit');
  if (keyId !== undefined && (typeof keyId !== 'string' || keyId.length > MAX_KEY_ID_LENGTH)) {
    return malformed(`header: expected kid to be text of at most ${MAX_KEY_ID_LENGTH} characters`);
  }
  return { kind: 'parsed', header: { algorithm, keyId } };
};

/** Headers read before: an issuer has one per key. Bounded, because clients can make up any. */
const MAX_HEADERS = 64;
const headers = new Map<string, ParsedToken>();

const headerOf = (segment: string): ParsedToken => {
  const known = headers.get(segment);
  if (known !== undefined) return known;
  const read = readHeader(segment);
  if (read.kind === 'parsed') {
    if (headers.size >= MAX_HEADERS) headers.clear();
    headers.set(segment, read);
  }
  return read;
};

/** The header; of the rest only the form. Never throws. */
export const parseToken = (token: string): ParsedToken => {
  if (token.length > MAX_TOKEN_LENGTH) return malformed(`expected at most ${MAX_TOKEN_LENGTH} characters`);
  if (!segments.test(token)) return malformed('expected a JSON Web Token in compact form');
  const parsed = headerOf(token.slice(0, token.indexOf('.')));
  return parsed.kind === 'parsed' && token.endsWith('.') ? malformed('expected a signature') : parsed;
};

/** What is wrong with the form of the claims, or undefined. Asked once the signature holds; `claims` are what the library read. */
export const claimsProblem = (token: string, claims?: unknown): string | undefined => {
  const start = token.indexOf('.') + 1;
  const read = objectProblem(token.slice(start, token.indexOf('.', start)), claims);
  return 'problem' in read ? `claims: ${read.problem}` : undefined;
};
