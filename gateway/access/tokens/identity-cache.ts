// Identities of tokens whose signature held, by the hash of the token: a client that comes back is not verified twice.
import { hash } from 'node:crypto';
import type { Identity } from './claims.ts';

export interface IdentityCache {
  /** The key under which the token is kept: not the token itself, so that memory holds no credentials. */
  keyOf(token: string): string;
  get(key: string): Identity | undefined;
  set(key: string, identity: Identity): void;
  clear(): void;
  readonly size: number;
}

/** Keeps the `capacity` entries used last; 0 keeps none. */
export const createIdentityCache = (capacity: number): IdentityCache => {
  const entries = new Map<string, Identity>();
  return {
    // The whole digest: whoever found another token with its hash would take over the identity. None where nothing is kept.
    keyOf: (token) => (capacity === 0 ? '' : hash('sha256', token, 'base64')),
    get(key) {
      const identity = entries.get(key);
      if (identity === undefined) return undefined;
      entries.delete(key);
      entries.set(key, identity);
      return identity;
    },
    set(key, identity) {
      if (capacity === 0) return;
      entries.delete(key);
      entries.set(key, identity);
      if (entries.size > capacity) entries.delete(entries.keys().next().value!);
    },
    clear: () => entries.clear(),
    get size() {
      return entries.size;
    },
  };
};
