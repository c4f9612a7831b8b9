// Reads which Redis a URL names before anything connects.

/** The URL cannot be used. The message never holds credentials. */
export class RedisUrlError extends Error {
  override readonly name = 'RedisUrlError';
}

export type RedisTarget =
  | { readonly kind: 'standalone'; readonly url: string }
  | {
      readonly kind: 'sentinel' | 'cluster';
      /** URLs of the Sentinels (without credentials) or of some nodes of the cluster. */
      readonly seeds: readonly string[];
      /** Name of the master as the Sentinels know it; empty for a cluster. */
      readonly masterName: string;
      /** URL of a Redis server at an address, with the credentials; an IPv6 host without brackets. */
      urlOf(host: string, port: number): string;
      /** Of the URL, decoded; for Sentinels that ask for a login. */
      readonly credentials: readonly string[];
    };

const DEFAULT_PORTS = { sentinel: 26_379, cluster: 6_379 };

const parseMembers = (scheme: string, rest: string): RedisTarget => {
  const kind = scheme === 'redis+sentinel' ? 'sentinel' : 'cluster';
  const [, login = '', hosts = '', masterName = ''] = /^(?:([^@/]*)@)?([^/]*)(?:\/(.*))?$/.exec(rest) ?? [];
  const userInfo = login === '' ? '' : `${login}@`;
  const seeds = hosts.split(',').map((host) => {
    const url = `redis://${kind === 'cluster' ? userInfo : ''}${host}${/:\d+$/.test(host) ? '' : `:${DEFAULT_PORTS[kind]}`}`;
    if (host === '' || !URL.canParse(url))
      throw new RedisUrlError(`the ${scheme}:// URL has a host that cannot be parsed`);
    return url;
  });
  if (kind === 'sentinel' && masterName === '') throw new RedisUrlError(`the ${scheme}:// URL does not name a master`);
  if (kind === 'cluster' && masterName !== '') throw new RedisUrlError(`a cluster has no databases to choose from`);
  return {
    kind,
    seeds,
    masterName,
    urlOf: (host, port) => `redis://${userInfo}${host.includes(':') ? `[${host}]` : host}:${port}`,
    credentials: login
      .split(/:(.*)/s)
      .filter((part) => part !== '')
      .map(decodeURIComponent),
  };
};

/** Throws `RedisUrlError` for what is no `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://` URL. */
export const parseRedisUrl = (url: string): RedisTarget => {
  const [, given = '', rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(url) ?? [];
  const scheme = given.toLowerCase();
  if (scheme === 'redis+sentinel' || scheme === 'redis+cluster') return parseMembers(scheme, rest);
  if (scheme !== 'redis' && scheme !== 'rediss') {
    throw new RedisUrlError('the Redis URL must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://');
  }
  if (!URL.canParse(url)) throw new RedisUrlError(`the ${scheme}:// URL cannot be parsed`);
  return { kind: 'standalone', url };
};
