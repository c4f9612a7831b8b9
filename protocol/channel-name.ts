// The grammar of channel names and namespaces (protocol §2).
import { MAX_CHANNEL_LENGTH } from './limits.ts';

/** 1–200 characters of `A-Z a-z 0-9 _ - = @ , . ; / :`. */
export const CHANNEL_PATTERN = `^[A-Za-z0-9_\\-=@,.;/:]{1,${MAX_CHANNEL_LENGTH}}$`;

/** Namespace of names without a colon. */
export const DEFAULT_NAMESPACE = 'default';

/** The part before the first `:`, or `default`. A leading colon names the default namespace too. */
export const namespaceOf = (channel: string): string => {
  const colon = channel.indexOf(':');
  return colon <= 0 ? DEFAULT_NAMESPACE : channel.slice(0, colon);
};
