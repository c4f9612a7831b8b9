import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHANNEL_PATTERN, namespaceOf } from '../../protocol/channel-name.ts';
import { createGrant, isTokenPattern } from './token-pattern.ts';

const channelName = new RegExp(CHANNEL_PATTERN);
const channel = fc.stringMatching(/^[A-Za-z0-9_\-=@,.;/:]{1,20}$/);

describe('isTokenPattern', () => {
  it.each(['*', 'chat:*', 'chat:lobby', 'user:{user}', '{user}', '{user}:*', 'a:{user}:b'])('takes %s', (pattern) => {
    expect(isTokenPattern(pattern)).toBe(true);
  });
  it.each(['', 'chat*', '**', 'chat:*x', 'a:b:*', '{user}*', 'chat:{User}', '{user', 'ä', 'a b'])(
    'refuses %j',
    (pattern) => {
      expect(isTokenPattern(pattern)).toBe(false);
    },
  );
});

describe('createGrant', () => {
  it.each([
    [['chat:lobby'], 'chat:lobby', true],
    [['chat:lobby'], 'chat:lobby2', false],
    [['chat:*'], 'chat:a:b', true],
    [['chat:*'], 'chat', false],
    [['chat:*'], 'chatter:a', false],
    [['*'], 'anything', true],
    [[], 'chat:lobby', false],
    [['user:{user}'], 'user:ada', true],
    [['user:{user}'], 'user:bob', false],
    [['{user}:*'], 'ada:x', true],
    [['default:*'], 'lobby', true],
    [['default:*'], ':lobby', true],
    [['default:*'], 'chat:lobby', false],
  ] as const)('%j covers %s: %s', (patterns, name, covered) => {
    expect(createGrant(patterns, 'ada')(name)).toBe(covered);
  });

  it.each(['*', 'a:b', ':', 'chat:*', 'a b', 'ä', '{user}', '$&', 'x'.repeat(201), 'a\u0000', '../*'])(
    'a user named %j gets nothing of a pattern with {user}',
    (user) => {
      const granted = createGrant(['{user}', '{user}:*', 'user:{user}', 'user:{user}:inbox'], user);
      for (const name of [user, `user:${user}`, 'chat:x', 'a:b', 'user:x', 'user:a:b', 'user:a:b:inbox', 'anything']) {
        expect(granted(name)).toBe(false);
      }
    },
  );

  it('a user named like the default namespace does not get its channels by a pattern with {user}', () => {
    const granted = createGrant(['{user}:*', 'user:{user}'], 'default');
    for (const name of ['lobby', ':lobby', 'default:lobby']) expect(granted(name)).toBe(false);
    expect(granted('user:default')).toBe(true);
    expect(createGrant(['{user}:*', 'default:*'], 'default')('lobby')).toBe(true);
  });

  it('grants exactly what the definition says, whatever the length of the list', () => {
    const pattern = fc.oneof(
      channel,
      fc.constantFrom('*', 'default:*'),
      channel.map((name) => `${name.replaceAll(':', '')}x:*`),
    );
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 20 }), channel, (patterns, name) => {
        const isCovered = patterns.some((one) => one === '*' || one === name || one === `${namespaceOf(name)}:*`);
        expect(createGrant(patterns, 'ada')(name)).toBe(isCovered);
      }),
    );
  });

  it('a user never reaches outside of the namespace that the pattern names, nor what another user has', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), channel, (user, other, name) => {
        const granted = createGrant(['user:{user}', 'user:{user}:private'], user);
        if (granted(name)) {
          expect(namespaceOf(name)).toBe('user');
          expect([`user:${user}`, `user:${user}:private`]).toContain(name);
        }
        const theirs = `user:${other}`;
        if (other !== user && channelName.test(theirs) && !other.includes(':')) expect(granted(theirs)).toBe(false);
      }),
    );
  });
});
