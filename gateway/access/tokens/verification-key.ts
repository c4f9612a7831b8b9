// Keys that may verify tokens: which algorithms each serves, and why a weak one serves none.
import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { Algorithm } from './token-text.ts';

export interface VerificationKey {
  readonly key: KeyObject;
  /** Tokens of any other algorithm never meet this key. */
  readonly algorithms: readonly Algorithm[];
  /** Named by `kid` of a token; undefined where the source names none. */
  readonly id: string | undefined;
}

/** RFC 7518 §3.3 and §3.5. */
const MIN_RSA_BITS = 2048;
/** Larger ones only cost time: a verification with 16384 bits takes about 1 ms. */
const MAX_RSA_BITS = 8192;

const RSA: readonly Algorithm[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const RSA_PSS: readonly Algorithm[] = ['PS256', 'PS384', 'PS512'];
/** By OpenSSL's names. */
const BY_CURVE: Readonly<Record<string, Algorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };
/** Shortest secret by algorithm, bytes: the size of its hash (RFC 7518 §3.2). */
const HMAC_BYTES = { HS256: 32, HS384: 48, HS512: 64 } as const satisfies Partial<Record<Algorithm, number>>;

/** Keys tried for one token that names none. */
export const MAX_TRIED = 4;

/** The shortest secret that verifies anything, bytes. */
export const MIN_SECRET_BYTES = HMAC_BYTES.HS256;

/** A secret serves the algorithms whose hash is not longer than itself. */
export const secretVerificationKey = (secret: string): VerificationKey => {
  const bytes = Buffer.from(secret);
  const algorithms = (Object.keys(HMAC_BYTES) as (keyof typeof HMAC_BYTES)[]).filter(
    (algorithm) => bytes.length >= HMAC_BYTES[algorithm],
  );
  return { key: createSecretKey(bytes), algorithms, id: undefined };
};

/** What a public key may verify, or why it may not. */
const algorithmsOf = (key: KeyObject): readonly Algorithm[] | string => {
  const { asymmetricKeyType: type, asymmetricKeyDetails: { modulusLength = 0, namedCurve = '' } = {} } = key;
  if (type === 'rsa' || type === 'rsa-pss') {
    if (modulusLength < MIN_RSA_BITS)
      return `expected an RSA key of at least ${MIN_RSA_BITS} bits, got ${modulusLength}`;
    if (modulusLength > MAX_RSA_BITS)
      return `expected an RSA key of at most ${MAX_RSA_BITS} bits, got ${modulusLength}`;
    return type === 'rsa' ? RSA : RSA_PSS;
  }
  const algorithm = type === 'ec' ? BY_CURVE[namedCurve] : undefined;
  if (algorithm !== undefined) return [algorithm];
  return `expected an RSA key or a key on P-256, P-384 or P-521, got ${type ?? 'none'} ${namedCurve}`.trimEnd();
};

const pemBlock = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]+?-----END \1-----/g;

/** Every key of a PEM file, so that two can be valid while one replaces the other; or why one of them cannot be used. */
export const readPublicKeys = (pem: string): readonly VerificationKey[] | string => {
  const blocks = [...pem.matchAll(pemBlock)];
  if (blocks.length === 0) return 'holds no PEM block';
  const keys: VerificationKey[] = [];
  for (const [block, label = ''] of blocks) {
    // A node that can sign tokens is one more place to steal the key from.
    if (label.includes('PRIVATE')) return 'holds a private key; a node needs the public one only';
    let key: KeyObject;
    try {
      key = createPublicKey(block);
    } catch (error) {
      return (error as Error).message.split('\n')[0]!;
    }
    const algorithms = algorithmsOf(key);
    if (typeof algorithms === 'string') return algorithms;
    keys.push({ key, algorithms, id: undefined });
    const [algorithm = ''] = algorithms;
    const alike = keys.filter((other) => other.algorithms[0] === algorithm).length;
    // Tokens name no key of a file, and one that is never tried refuses whoever relies on it.
    if (alike > MAX_TRIED) return `holds more than ${MAX_TRIED} keys for ${algorithm}`;
  }
  return keys;
};

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** Only what makes the public key: nothing else of a JWK can have a say. */
const publicPart = (jwk: Readonly<Record<string, unknown>>): JsonWebKey | undefined => {
  const { kty } = jwk;
  if (kty === 'RSA') return { kty, n: textOf(jwk['n']), e: textOf(jwk['e']) };
  if (kty === 'EC') return { kty, crv: textOf(jwk['crv']), x: textOf(jwk['x']), y: textOf(jwk['y']) };
  return undefined;
};

const isForVerifying = ({ use, key_ops: operations }: Readonly<Record<string, unknown>>): boolean =>
  (use === undefined || use === 'sig') &&
  (operations === undefined || (Array.isArray(operations) && operations.includes('verify')));

/** The key of one JWK (RFC 7517), or undefined for one that is for something else, weak, or no key at all. */
const readJwk = (jwk: unknown): VerificationKey | undefined => {
  if (typeof jwk !== 'object' || jwk === null) return undefined;
  const fields = jwk as Readonly<Record<string, unknown>>;
  const part = publicPart(fields);
  if (part === undefined || !isForVerifying(fields)) return undefined;
  let key: KeyObject;
  try {
    key = createPublicKey({ key: part, format: 'jwk' });
  } catch {
    return undefined;
  }
  const { alg, kid } = fields;
  const possible = algorithmsOf(key);
  if (typeof possible === 'string') return undefined;
  const algorithms = possible.filter((algorithm) => alg === undefined || alg === algorithm);
  return algorithms.length === 0 ? undefined : { key, algorithms, id: textOf(kid) };
};

/** Keys taken of one set. */
const MAX_KEYS = 100;

/** The usable keys of a JWK Set; undefined when the text is none, or holds no usable key. */
export const readJwks = (text: string): readonly VerificationKey[] | undefined => {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return undefined;
  }
  const list = typeof document === 'object' && document !== null ? (document as { keys?: unknown }).keys : undefined;
  if (!Array.isArray(list)) return undefined;
  const keys = list.slice(0, MAX_KEYS).flatMap((jwk) => readJwk(jwk) ?? []);
  return keys.length === 0 ? undefined : keys;
};
