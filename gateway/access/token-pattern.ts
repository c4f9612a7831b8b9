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

type Grant = (channel: string) => boolean;

/** A list of patterns as tokens carry it: what it grants each user, or the place of the first that is no pattern. */
type PatternList =
  | { readonly kind: 'patterns'; readonly grantFor: (user: string) => Grant }
  | { readonly kind: 'wrong'; readonly index: number };

const resolve = (patterns: readonly string[], user: string): readonly string[] =>
  insertable.test(user)
    ? patterns
        .map((pattern) => pattern.replaceAll(PLACEHOLDER, () => user))
        .filter((inserted) => inserted !== DEFAULT_PATTERN)
    : [];

const compile = (patterns: readonly string[]): ((user: string) => Grant) => {
  const shared = createChannelMatcher(patterns.filter((pattern) => !pattern.includes(PLACEHOLDER)));
  const ofUser = patterns.filter((pattern) => pattern.includes(PLACEHOLDER));
  if (ofUser.length === 0 || patterns.includes('*')) return () => shared;
  return (user) => {
    const own = createChannelMatcher(resolve(ofUser, user));
    return (channel) => shared(channel) || own(channel);
  };
};

/** An issuer writes the same few lists into all its tokens. Bounded, in number and length, because it may write any. */
const MAX_LISTS = 256;
const MAX_LIST_LENGTH = 2048;
const lists = new Map<string, PatternList>();

/** Compiled once for all tokens that carry the same list. */
export const readPatterns = (patterns: readonly string[]): PatternList => {
  const text = JSON.stringify(patterns);
  const known = lists.get(text);
  if (known !== undefined) return known;
  const index = patterns.findIndex((pattern) => !isTokenPattern(pattern));
  if (index !== -1) return { kind: 'wrong', index };
  const read: PatternList = { kind: 'patterns', grantFor: compile(patterns) };
  if (text.length > MAX_LIST_LENGTH) return read;
  if (lists.size >= MAX_LISTS) lists.clear();
  lists.set(text, read);
  return read;
};
