import { describe, expect, it } from 'vitest';
import { configKeys } from './keys.ts';
import { namespaceKeys } from './namespaces.ts';
import { canonicalName, envNameOf, nearest } from './words.ts';

describe('the names of keys', () => {
  it.each([
    ['redisUrl', 'WEIR_REDIS_URL'],
    ['maxFrameBytes', 'WEIR_MAX_FRAME_BYTES'],
    ['jwtPublicKeyFile', 'WEIR_JWT_PUBLIC_KEY_FILE'],
    ['port', 'WEIR_PORT'],
  ])('%s is %s in the environment', (key, env) => {
    expect(envNameOf(key)).toBe(env);
  });

  it.each([[['redisUrl']], [['redis_url']], [['redis-url']], [['redis.url']], [['REDIS_URL']], [['redis', 'url']]])(
    'have one canonical spelling: %j',
    (segments) => {
      expect(canonicalName(segments)).toBe('redis_url');
    },
  );

  it.each([
    ['of a node', configKeys],
    ['of a namespace', namespaceKeys],
  ])('are never a group and a key at once %s, so that a nesting has one meaning', (_, table) => {
    const names = Object.keys(table).map((key) => canonicalName([key]));
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => names.some((other) => other.startsWith(`${name}_`)))).toEqual([]);
  });
});

describe('nearest', () => {
  it.each(['', 'xyzzy', 'x'.repeat(100_000)])('knows nothing near %j', (name) => {
    expect(nearest(name, ['redis_url', 'profile'])).toBeUndefined();
  });

  it('forgives swapped, missing and further letters', () => {
    for (const typo of ['prot', 'por', 'portt', 'POTR']) expect(nearest(typo, ['redis_url', 'port'])).toBe('port');
  });
});
