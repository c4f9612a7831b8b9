import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AUDIENCES,
  decide,
  VERBS,
  type Audience,
  type Decision,
  type Grants,
  type NamespaceRights,
  type Verb,
  type Who,
} from './rights.ts';
import { grantOf } from './test-grant.ts';

const RIGHT: Readonly<Record<Verb, keyof NamespaceRights>> = {
  subscribe: 'subscribe',
  publish: 'publish',
  presence: 'membersAccess',
  history: 'historyAccess',
};
const all = (audience: Audience): NamespaceRights => ({
  subscribe: audience,
  publish: audience,
  membersAccess: audience,
  historyAccess: audience,
});
const rightsOf = (audience: Audience) => (): NamespaceRights => all(audience);

const CHANNEL = 'chat:lobby';
/** What the token says of the verb: no token, nothing, a list that covers the channel, one that does not, an empty one. */
const LISTS = {
  anonymous: undefined,
  absent: null,
  covering: ['chat:*'],
  other: ['news:*', 'chat:other'],
  empty: [],
} as const;
type List = keyof typeof LISTS;

const whoWith = (verb: Verb, list: List): Who => {
  const patterns = LISTS[list];
  if (patterns === undefined) return { kind: 'anonymous' };
  if (patterns === null) return { kind: 'user', user: 'ada' };
  return { kind: 'user', user: 'ada', grants: { [verb]: grantOf(patterns, 'ada') } };
};

/** Decisions of a namespace for: anonymous, anonymous subscribed, user, user subscribed. */
const byNamespace: Readonly<Record<Audience, readonly [Decision, Decision, Decision, Decision]>> = {
  everyone: ['granted', 'granted', 'granted', 'granted'],
  authenticated: ['denied', 'denied', 'granted', 'granted'],
  subscribers: ['denied', 'granted', 'denied', 'granted'],
  nobody: ['denied', 'denied', 'denied', 'denied'],
};
const expected = (audience: Audience, list: List, subscribed: boolean): Decision => {
  switch (list) {
    case 'anonymous':
      return byNamespace[audience][subscribed ? 1 : 0];
    case 'absent':
      return byNamespace[audience][subscribed ? 3 : 2];
    case 'covering':
      return 'granted';
    case 'other':
    case 'empty':
      return 'denied';
  }
};

const combinations = VERBS.flatMap((verb) =>
  AUDIENCES.flatMap((audience) =>
    (Object.keys(LISTS) as List[]).flatMap((list) =>
      [false, true].map((subscribed) => ({
        verb,
        audience,
        list,
        subscribed,
        decision: expected(audience, list, subscribed),
      })),
    ),
  ),
);

describe('decide', () => {
  it('covers every combination of verb, audience, token and subscription', () => {
    expect(combinations).toHaveLength(4 * 4 * 5 * 2);
  });

  it.each(combinations)(
    '$verb where the namespace allows $audience and the list is $list (subscribed: $subscribed): $decision',
    ({ verb, audience, list, subscribed, decision }) => {
      const who = whoWith(verb, list);
      // The rights to the other verbs have no say.
      for (const others of AUDIENCES) {
        const rights = { ...all(others), [RIGHT[verb]]: audience };
        expect(decide(verb, who, CHANNEL, () => rights, { subscribed })).toBe(decision);
      }
    },
  );

  it.each(VERBS)('%s is not granted by the lists of the other verbs', (verb) => {
    const everything = grantOf(['*'], 'ada');
    const grants: Grants = Object.fromEntries(
      VERBS.filter((other) => other !== verb).map((other) => [other, everything]),
    );
    const who: Who = { kind: 'user', user: 'ada', grants };
    expect(decide(verb, who, CHANNEL, rightsOf('nobody'), { subscribed: true })).toBe('denied');
  });

  it.each(VERBS)('a channel the server subscribes grants subscribe alone, here asked: %s', (verb) => {
    const who: Who = { kind: 'user', user: 'ada', grants: { channels: new Set([CHANNEL]) } };
    const decision = verb === 'subscribe' ? 'granted' : 'denied';
    expect(decide(verb, who, CHANNEL, rightsOf('nobody'), { subscribed: false })).toBe(decision);
    expect(decide(verb, who, 'chat:other', rightsOf('nobody'), { subscribed: false })).toBe('denied');
    const anonymous: Who = { kind: 'anonymous' };
    expect(decide(verb, anonymous, CHANNEL, rightsOf('nobody'), { subscribed: false, byServer: true })).toBe(decision);
  });

  it('never grants more to a token with an empty list than to one with any list', () => {
    const channels = fc.stringMatching(/^[a-z:]{1,8}$/);
    fc.assert(
      fc.property(
        fc.constantFrom(...VERBS),
        fc.constantFrom(...AUDIENCES),
        fc.array(channels),
        channels,
        fc.boolean(),
        (verb, audience, patterns, channel, subscribed) => {
          const who: Who = { kind: 'user', user: 'ada', grants: { [verb]: grantOf(patterns, 'ada') } };
          const isListed = patterns.includes(channel);
          const decision = decide(verb, who, channel, rightsOf(audience), { subscribed });
          expect(decision).toBe(isListed ? 'granted' : 'denied');
        },
      ),
    );
  });
});
