// Tokens as an application makes them, written apart from the gateway: good ones, and ones no library would sign.
import { createHmac, type KeyObject } from 'node:crypto';
import jsonwebtoken, { type SignOptions } from 'jsonwebtoken';

/** Long enough for HS256, HS384 and HS512. */
export const TOKEN_SECRET = 'secret-for-the-tokens-of-the-tests-0123456789-abcdefghijklmnopqrstuvwxyz';

export interface TestTokenOptions extends Pick<SignOptions, 'algorithm' | 'keyid'> {
  readonly key?: string | KeyObject;
  /** Seconds from now; null for none. Default one hour. */
  readonly expiresInS?: number | null;
  /** Unix seconds; null for none. Default now. */
  readonly issuedAtS?: number | null;
}

/** `claims` as they are, with `exp` and `iat` unless given. */
export const signToken = (claims: Readonly<Record<string, unknown>>, options: TestTokenOptions = {}): string => {
  const { key = TOKEN_SECRET, expiresInS = 3600, issuedAtS, ...rest } = options;
  const nowS = Math.floor(Date.now() / 1000);
  const payload = {
    ...(issuedAtS !== null && { iat: issuedAtS ?? nowS }),
    ...(expiresInS !== null && { exp: nowS + expiresInS }),
    ...claims,
  };
  return jsonwebtoken.sign(payload, key, { algorithm: 'HS256', noTimestamp: issuedAtS === null, ...rest });
};

const encode = (part: unknown): string =>
  Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');

/** A token of any header and payload (text stays as it is), signed by HMAC-SHA256 unless a signature is given. */
export const forgeToken = (
  header: unknown,
  payload: unknown,
  { secret = TOKEN_SECRET, signature }: { secret?: string | Buffer; signature?: string } = {},
): string => {
  const input = `${encode(header)}.${encode(payload)}`;
  return `${input}.${signature ?? createHmac('sha256', secret).update(input).digest('base64url')}`;
};
