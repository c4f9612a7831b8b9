import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createChannelMatcher, isChannelPattern } from './channel-pattern.ts';

describe('createChannelMatcher', () => {
  it.each<[pattern: string, channel: string]>([
    ['news', 'news2'],
    ['news', 'news:1'],
    ['price:*', 'price'],
    ['price:*', 'prices:1'],
    ['price:*', 'other:price:1'],
    ['default:*', 'price:1'],
    ['price:eu*', 'price:eu1'],
  ])('does not cover, by %s, the channel %s', (pattern, channel) => {
    expect(createChannelMatcher([pattern])(channel)).toBe(false);
  });

  it('covers nothing without patterns', () => {
    expect(createChannelMatcher([])('news')).toBe(false);
  });

  it.each<[pattern: string, channel: string]>([
    ['*', 'anything:at/all'],
    ['news', 'news'],
    ['price:*', 'price:1'],
    ['price:*', 'price:eu:1'],
    ['default:*', 'news'],
    ['price:eu', 'price:eu'],
  ])('covers, by %s, the channel %s', (pattern, channel) => {
    expect(createChannelMatcher(['other', pattern])(channel)).toBe(true);
  });

  it('covers by a channel exactly itself', () => {
    const channel = fc.stringMatching(/^[A-Za-z0-9_:-]{1,20}$/);
    fc.assert(
      fc.property(channel, channel, (pattern, asked) => {
        expect(createChannelMatcher([pattern])(asked)).toBe(pattern === asked);
      }),
    );
  });
});

describe('isChannelPattern', () => {
  it.each(['', '**', 'a*', '*:a', 'a:*:b', 'a:b:*', 'with space', 'x'.repeat(201), ':*'])('refuses %j', (pattern) => {
    expect(isChannelPattern(pattern)).toBe(false);
  });

  it.each(['*', 'news', 'price:*', 'price:eu:1', 'a.b/c'])('accepts %s', (pattern) => {
    expect(isChannelPattern(pattern)).toBe(true);
  });
});
