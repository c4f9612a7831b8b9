// Channel patterns of API keys and tokens: a channel, every channel of a namespace (`ns:*`), or every channel (`*`) (protocol §9).
import { CHANNEL_PATTERN, namespaceOf } from '../../protocol/channel-name.ts';

const channelName = new RegExp(CHANNEL_PATTERN);
const namespacePattern = /^([A-Za-z0-9_\-=@,.;/]+):\*$/;

export const isChannelPattern = (pattern: string): boolean =>
  pattern === '*' || namespacePattern.test(pattern) || channelName.test(pattern);

/**
 * Compiles patterns into a check of two set look-ups, made once and asked for every command: nothing of the patterns is
 * looked at again. Patterns that are not `isChannelPattern` match nothing.
 */
export const createChannelMatcher = (patterns: readonly string[]): ((channel: string) => boolean) => {
  if (patterns.includes('*')) return () => true;
  const namespaces = new Set<string>();
  const channels = new Set<string>();
  for (const pattern of patterns) {
    const namespace = namespacePattern.exec(pattern)?.[1];
    if (namespace === undefined) channels.add(pattern);
    else namespaces.add(namespace);
  }
  if (namespaces.size === 0) return (channel) => channels.has(channel);
  if (channels.size === 0) return (channel) => namespaces.has(namespaceOf(channel));
  return (channel) => channels.has(channel) || namespaces.has(namespaceOf(channel));
};
