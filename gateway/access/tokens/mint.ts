// Makes tokens for trying things out: signed with the node's own secret or with a private key, and checked like any other.
import { createPrivateKey, type KeyObject } from 'node:crypto';
import jsonwebtoken from 'jsonwebtoken';
import { readClaims } from './claims.ts';
import type { Algorithm } from './token-text.ts';
import { secretVerificationKey } from './verification-key.ts';

export interface MintOptions {
  /** As in the payload: `sub`, `exp`, `weir` … */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly key: { readonly secret: string } | { readonly privatePem: string };
  /** For RSA keys one of RS and PS; else it follows from the key. */
  readonly algorithm?: Algorithm | undefined;
  readonly keyId?: string | undefined;
}

/** By OpenSSL's names. */
const BY_CURVE: Readonly<Record<string, Algorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

const algorithmOf = (key: KeyObject): Algorithm => {
  if (key.asymmetricKeyType === 'rsa') return 'RS256';
  if (key.asymmetricKeyType === 'rsa-pss') return 'PS256';
  const curve = key.asymmetricKeyDetails?.namedCurve ?? '';
  const algorithm = BY_CURVE[curve];
  if (algorithm === undefined) throw new Error('expected an RSA key or a key on P-256, P-384 or P-521');
  return algorithm;
};

/** Throws an error for people when no node would take the token. */
export const mintToken = ({ claims, key, algorithm, keyId }: MintOptions): string => {
  const problem = readClaims(claims, { expiryRequired: false });
  if (typeof problem === 'string') throw new Error(problem);
  const options = keyId === undefined ? {} : { keyid: keyId };
  if ('privatePem' in key) {
    const privateKey = createPrivateKey(key.privatePem);
    return jsonwebtoken.sign(claims, privateKey, { ...options, algorithm: algorithm ?? algorithmOf(privateKey) });
  }
  const chosen = algorithm ?? 'HS256';
  if (!secretVerificationKey(key.secret).algorithms.includes(chosen)) {
    throw new Error(
      `the secret is too short for ${chosen}: a node takes it from the size of the hash on (32, 48, 64 bytes)`,
    );
  }
  return jsonwebtoken.sign(claims, key.secret, { ...options, algorithm: chosen });
};
