// Channel patterns of API keys and tokens: a channel, every channel of a namespace (`ns:*`), or every channel (`*`) (protocol §9).
import { CHANNEL_PATTERN, namespaceOf } from '../../protocol/channel-name.ts';

const channelName = new RegExp(CHANNEL_PATTERN);
const namespacePattern = /^([A-Za-z0-9_\-=@,.;/]+):\*$/;

export const isChannelPattern = (pattern: string): boolean =>
  pattern === '*' || namespacePattern.test(pattern) || channelName.test(pattern);

/** Compiles patterns into a check of two set look-ups. Patterns that are not `isChannelPattern` match nothing. */
export const createChannelMatcher = (patterns: readonly string[]): ((channel: string) => boolean) => {
  if (patterns.includes('*')) return () => true;
  const channels = new Set(patterns);
  const namespaces = new Set(patterns.flatMap((pattern) => namespacePattern.exec(pattern)?.[1] ?? []));
  return (channel) => channels.has(channel) || (namespaces.size > 0 && namespaces.has(namespaceOf(channel)));
};
