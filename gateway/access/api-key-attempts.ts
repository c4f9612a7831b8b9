// How often an address may present an API key that is not known: a bucket of failures per address, refilled evenly.
//
// While the bucket is empty every key from there is refused alike, so that guessing tells nothing; except keys that were used from that very
// address before: a backend keeps its access when somebody behind the same address guesses.
import { isIP } from 'node:net';
import type { Clock } from '../clock.ts';

export interface ApiKeyAttemptsOptions {
  readonly clock: Clock;
  /** Failures an address has at once, and in each window after. */
  readonly maxFailures: number;
  readonly windowMs: number;
}

export type Attempt =
  | { readonly kind: 'free' }
  /** `first`: the address ran out of attempts just now. */
  | { readonly kind: 'limited'; readonly retryAfterMs: number; readonly first: boolean };

export interface ApiKeyAttempts {
  /** A key was presented from `address`: its name, or undefined when it is not known. Says whether the answer may tell which. */
  attempt(address: string, keyName: string | undefined): Attempt;
}

/** Addresses remembered; beyond it the one that was quiet for longest is forgotten. */
const MAX_ADDRESSES = 10_000;
/** Keys remembered per address. */
const MAX_KEYS_PER_ADDRESS = 16;

const FREE: Attempt = { kind: 'free' };

interface Remembered {
  /** Failures that are left, as of `atMs`. */
  left: number;
  atMs: number;
  readonly usedKeys: Set<string>;
  isLimited: boolean;
}

/** One IPv6 customer has a whole /64, so that single addresses would never run out. */
const networkOf = (address: string): string => {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':');
    while (groups.length + after.length < 8) groups.push('0');
    groups.push(...after);
  }
  return groups.slice(0, 4).join(':');
};

export const createApiKeyAttempts = ({ clock, maxFailures, windowMs }: ApiKeyAttemptsOptions): ApiKeyAttempts => {
  /** The one that was quiet for longest first. */
  const addresses = new Map<string, Remembered>();
  /** The last of them. A backend asks thousands of times per second: to take it out and put it in again each time would make the map anew every few times. */
  let newest: string | undefined;
  const msPerFailure = windowMs / maxFailures;

  const remember = (network: string, known: Remembered | undefined, nowMs: number): Remembered => {
    if (known !== undefined && network === newest) return known;
    const entry = known ?? { left: maxFailures, atMs: nowMs, usedKeys: new Set(), isLimited: false };
    newest = network;
    addresses.delete(network);
    addresses.set(network, entry);
    if (addresses.size > MAX_ADDRESSES) addresses.delete(addresses.keys().next().value!);
    return entry;
  };

  return {
    attempt(address, keyName) {
      const network = networkOf(address);
      const known = addresses.get(network);
      const nowMs = clock.monotonicMs();
      const entry = remember(network, known, nowMs);
      if (keyName !== undefined && entry.usedKeys.has(keyName)) return FREE;
      entry.left = Math.min(maxFailures, entry.left + (nowMs - entry.atMs) / msPerFailure);
      entry.atMs = nowMs;
      if (entry.left < 1) {
        const first = !entry.isLimited;
        entry.isLimited = true;
        return { kind: 'limited', retryAfterMs: Math.ceil((1 - entry.left) * msPerFailure), first };
      }
      entry.isLimited = false;
      if (keyName === undefined) entry.left--;
      else if (entry.usedKeys.size < MAX_KEYS_PER_ADDRESS) entry.usedKeys.add(keyName);
      return FREE;
    },
  };
};
