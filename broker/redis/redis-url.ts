// Checks which Redis a URL names before anything connects.

/** The URL cannot be used. The message never holds credentials. */
export class RedisUrlError extends Error {
  override readonly name = 'RedisUrlError';
  readonly reason: 'invalid' | 'unsupported-topology';

  constructor(reason: RedisUrlError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Returns a `redis://` or `rediss://` URL unchanged. Throws `RedisUrlError` for everything else. */
export const checkRedisUrl = (url: string): string => {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (scheme === 'redis+sentinel' || scheme === 'redis+cluster') {
    throw new RedisUrlError('unsupported-topology', `${scheme}:// is not supported yet; use redis:// or rediss://`);
  }
  if (scheme !== 'redis' && scheme !== 'rediss') {
    throw new RedisUrlError('invalid', 'the Redis URL must begin with redis:// or rediss://');
  }
  try {
    // The constructor is the parser; hosts of several nodes are not standalone URLs and fail here or at connect.
    new URL(url);
  } catch {
    throw new RedisUrlError('invalid', `the ${scheme}:// URL cannot be parsed`);
  }
  return url;
};
