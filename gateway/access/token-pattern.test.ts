import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHANNEL_PATTERN, namespaceOf } from '../../protocol/channel-name.ts';
import { grantOf } from './test-grant.ts';
import { isTokenPattern, readPatterns } from './token-pattern.ts';

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

describe('what a list of patterns grants', () => {
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
    expect(grantOf(patterns, 'ada')(name)).toBe(covered);
  });

  it.each(['*', 'a:b', ':', 'chat:*', 'a b', 'ä', '{user}', '$&', 'x'.repeat(201), 'a\u0000', '../*'])(
    'a user named %j gets nothing of a pattern with {user}',
    (user) => {
      const granted = grantOf(['{user}', '{user}:*', 'user:{user}', 'user:{user}:inbox'], user);
      for (const name of [user, `user:${user}`, 'chat:x', 'a:b', 'user:x', 'user:a:b', 'user:a:b:inbox', 'anything']) {
        expect(granted(name)).toBe(false);
      }
    },
  );

  it('a user named like the default namespace does not get its channels by a pattern with {user}', () => {
    const granted = grantOf(['{user}:*', 'user:{user}'], 'default');
    for (const name of ['lobby', ':lobby', 'default:lobby']) expect(granted(name)).toBe(false);
    expect(granted('user:default')).toBe(true);
    expect(grantOf(['{user}:*', 'default:*'], 'default')('lobby')).toBe(true);
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
        expect(grantOf(patterns, 'ada')(name)).toBe(isCovered);
      }),
    );
  });

  it('a user never reaches outside of the namespace that the pattern names, nor what another user has', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), channel, (user, other, name) => {
        const granted = grantOf(['user:{user}', 'user:{user}:private'], user);
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

describe('lists that are kept', () => {
  it('grants each user its own by the same list, whoever came before', () => {
    const list = ['user:{user}', 'chat:*'];
    const names = ['user:ada', 'user:bob', 'user:*', 'chat:x', 'other'];
    const expected = [
      ['ada', ['user:ada', 'chat:x']],
      ['bob', ['user:bob', 'chat:x']],
      ['*', ['chat:x']],
      ['ada', ['user:ada', 'chat:x']],
    ] as const;
    for (const [user, granted] of expected) {
      const grant = grantOf([...list], user);
      expect(names.filter((name) => grant(name))).toEqual(granted);
    }
  });

  it('does not take one list for another, nor one that is wrong for one that is right', () => {
    expect(grantOf(['a,b'], 'ada')('a')).toBe(false);
    expect(grantOf(['a', 'b'], 'ada')('a')).toBe(true);
    expect(grantOf([], 'ada')('a')).toBe(false);
    for (let time = 0; time < 2; time += 1) {
      expect(readPatterns(['a', 'b","c'])).toEqual({ kind: 'wrong', index: 1 });
      expect(grantOf(['a', 'b', 'c'], 'ada')('c')).toBe(true);
    }
  });

  it('stays right for more and longer lists than are kept', () => {
    const lists = Array.from({ length: 600 }, (_, n) => [`room:${n}`, ...(n % 100 === 0 ? ['x'.repeat(200)] : [])]);
    lists.push(Array.from({ length: 500 }, (_, n) => `long:${n}`));
    for (let time = 0; time < 2; time += 1) {
      for (const list of lists) {
        const granted = grantOf(list, 'ada');
        expect([granted(list[0]!), granted('elsewhere')]).toEqual([true, false]);
      }
    }
  });
});
