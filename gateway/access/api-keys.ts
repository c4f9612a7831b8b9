// Who an API key is: presented text in, named scopes out, at the price of one hash per request.
import { hash, timingSafeEqual } from 'node:crypto';
import { MAX_API_KEY_LENGTH, type ApiKeyEntry, type ApiKeyScope } from './api-key-entries.ts';
import { createChannelMatcher } from './channel-pattern.ts';

export interface ApiKey {
  readonly name: string;
  readonly scopes: readonly ApiKeyScope[];
  /** Channels that the key is for; a listing asks the nodes for these alone. */
  readonly patterns: readonly string[];
  /** Whether the key has the scope and, when a channel is named, one of its patterns covers it. */
  may(scope: ApiKeyScope, channel?: string): boolean;
}

export interface ApiKeys {
  /** The key that was presented, or undefined when there is none such. Never throws. */
  authenticate(presented: string | undefined): ApiKey | undefined;
  /** From now on only these are known. Requests under way go on with what their key was given. */
  replace(entries: readonly ApiKeyEntry[]): void;
  readonly size: number;
}

const readEntries = (entries: readonly ApiKeyEntry[]) =>
  entries.map((entry) => {
    const matches = createChannelMatcher(entry.channels);
    const scopes = new Set<ApiKeyScope>(entry.scopes);
    const key: ApiKey = {
      name: entry.name,
      scopes: entry.scopes,
      patterns: entry.channels,
      may: (scope, channel) => scopes.has(scope) && (channel === undefined || matches(channel)),
    };
    return { digest: Buffer.from(entry.sha256, 'hex'), key };
  });

/**
 * Keys are compared as SHA-256 in constant time, always all of them, so that the time tells neither how much of a
 * secret was right nor which key it was.
 */
export const createApiKeys = (entries: readonly ApiKeyEntry[]): ApiKeys => {
  let known = readEntries(entries);
  // Reused, since a fresh buffer costs twice the hash; nothing awaits between writing and comparing.
  const digest = Buffer.alloc(32);
  return {
    authenticate: (presented) => {
      if (presented === undefined || presented === '' || presented.length > MAX_API_KEY_LENGTH) return undefined;
      digest.write(hash('sha256', presented, 'binary'), 'latin1');
      let found: ApiKey | undefined;
      for (const candidate of known) if (timingSafeEqual(digest, candidate.digest)) found = candidate.key;
      return found;
    },
    replace: (renewed) => void (known = readEntries(renewed)),
    get size() {
      return known.length;
    },
  };
};
