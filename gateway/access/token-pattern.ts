// Channel patterns of tokens: as those of API keys, with `{user}` for the token's `sub`, which can never widen them.
import { DEFAULT_NAMESPACE } from '../../protocol/channel-name.ts';
import { createChannelMatcher, isChannelPattern } from './channel-pattern.ts';

const PLACEHOLDER = '{user}';

/**
 * What may stand for `{user}`: characters of a channel name but `:`, which would make another namespace of it. For a user
 * of any other name, a pattern with `{user}` covers nothing.
 */
const insertable = /^[A-Za-z0-9_\-=@,.;/]{1,200}$/;

export const isTokenPattern = (pattern: string): boolean => isChannelPattern(pattern.replaceAll(PLACEHOLDER, 'u'));

/** Every channel without a namespace of its own. Only a pattern that says so means it, not a user who is named like that. */
const DEFAULT_PATTERN = `${DEFAULT_NAMESPACE}:*`;

/** Which channels a list of patterns grants the user. The patterns are `isTokenPattern`. */
export const createGrant = (patterns: readonly string[], user: string): ((channel: string) => boolean) => {
  const resolved = patterns.flatMap((pattern) => {
    if (!pattern.includes(PLACEHOLDER)) return [pattern];
    const inserted = pattern.replaceAll(PLACEHOLDER, () => user);
    return insertable.test(user) && inserted !== DEFAULT_PATTERN ? [inserted] : [];
  });
  return createChannelMatcher(resolved);
};
