// Channel patterns of tokens: as those of API keys, with `{user}` for the token's `sub`, which can never widen them.
import { createChannelMatcher, isChannelPattern } from './channel-pattern.ts';

const PLACEHOLDER = '{user}';

/**
 * What may stand for `{user}`: characters of a channel name but `:`, which would make another namespace of it. For a user
 * of any other name, a pattern with `{user}` covers nothing.
 */
const insertable = /^[A-Za-z0-9_\-=@,.;/]{1,200}$/;

export const isTokenPattern = (pattern: string): boolean => isChannelPattern(pattern.replaceAll(PLACEHOLDER, 'u'));

/** Lists up to this length are walked; longer ones are worth two sets. */
const MAX_WALKED = 8;

const covers = (pattern: string, channel: string): boolean => {
  if (!pattern.endsWith('*')) return pattern === channel;
  return pattern.length === 1 || channel.startsWith(pattern.slice(0, -1));
};

/** Which channels a list of patterns grants the user. The patterns are `isTokenPattern`. */
export const createGrant = (patterns: readonly string[], user: string): ((channel: string) => boolean) => {
  const resolved = patterns.flatMap((pattern) => {
    if (!pattern.includes(PLACEHOLDER)) return [pattern];
    return insertable.test(user) ? [pattern.replaceAll(PLACEHOLDER, () => user)] : [];
  });
  if (resolved.length > MAX_WALKED) return createChannelMatcher(resolved);
  return (channel) => {
    for (const pattern of resolved) if (covers(pattern, channel)) return true;
    return false;
  };
};
