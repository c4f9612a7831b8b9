import { describe, expect, it } from 'vitest';
import { isRedisUrl, isWebUrl, withoutPassword } from './urls.ts';

describe('isRedisUrl', () => {
  it.each([
    '',
    'redis://',
    'redis:6379',
    'http://redis',
    'redis://host:port',
    'redis://host:0',
    'redis://host:65536',
    'redis://host:99999999',
    'redis://host/db',
    'redis://a,b',
    'redis://ho st',
    'redis+sentinel://a,b',
    'redis+sentinel://a,b/',
    'redis+sentinel://a,,b/name',
    'redis+cluster://',
    'redis+cluster://a:70000,b',
  ])('refuses %j', (url) => {
    expect(isRedisUrl(url)).toBe(false);
  });

  it.each([
    'redis://127.0.0.1:6379',
    'redis://redis',
    'redis://user:pass@redis:6379/2',
    'redis://:pa%40ss@redis',
    'rediss://redis.example.com:6380',
    'redis://[::1]:6379',
    'redis://[2001:db8::9]:6379',
    'redis+sentinel://a:26379,b:26379/mymaster',
    'redis+cluster://a:7000,b:7001,c',
    'redis+cluster://:pass@a:7000,b:7001/',
  ])('accepts %s', (url) => {
    expect(isRedisUrl(url)).toBe(true);
  });
});

describe('isWebUrl', () => {
  it.each(['', 'example.com', 'ftp://example.com', 'https://'])('refuses %j', (url) => {
    expect(isWebUrl(url)).toBe(false);
  });

  it.each(['http://localhost:1/x', 'https://example.com/.well-known/jwks.json'])('accepts %s', (url) => {
    expect(isWebUrl(url)).toBe(true);
  });
});

describe('withoutPassword', () => {
  it.each<[url: string, shown: string]>([
    ['redis://user:secret@host/1', 'redis://user:***@host/1'],
    ['redis://:secret@host', 'redis://:***@host'],
    ['redis://token@host', 'redis://***@host'],
    ['redis://user:se@cr:et@host', 'redis://user:***@host'],
    ['redis+sentinel://u:p@a:1,b:2/m', 'redis+sentinel://u:***@a:1,b:2/m'],
    ['redis://host:6379', 'redis://host:6379'],
    ['https://host/a@b', 'https://host/a@b'],
    ['https://host/keys?key=secret&b=s@c#x', 'https://host/keys?key=***&b=***#x'],
    ['https://u:p@host?secret', 'https://u:***@host?***'],
  ])('shows %s as %s', (url, shown) => {
    expect(withoutPassword(url)).toBe(shown);
  });
});
