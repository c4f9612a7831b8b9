import { describe, expect, it } from 'vitest';
import { AUDIENCES, decide, type Audience, type Decision, type NamespaceRights, type Who } from './rights.ts';

const anonymous: Who = { kind: 'anonymous' };
const user: Who = { kind: 'user', user: 'ada' };

/** Decisions for anonymous, anonymous subscribed, user, user subscribed. */
const expected: Readonly<Record<Audience, readonly [Decision, Decision, Decision, Decision]>> = {
  everyone: ['granted', 'granted', 'granted', 'granted'],
  authenticated: ['denied', 'denied', 'granted', 'granted'],
  subscribers: ['denied', 'granted', 'denied', 'granted'],
  nobody: ['denied', 'denied', 'denied', 'denied'],
};
const verbs = [
  ['subscribe', 'subscribe'],
  ['publish', 'publish'],
  ['history', 'historyAccess'],
] as const;

const nobody: NamespaceRights = { subscribe: 'nobody', publish: 'nobody', historyAccess: 'nobody' };
const everybody: NamespaceRights = { subscribe: 'everyone', publish: 'everyone', historyAccess: 'everyone' };

const combinations = verbs.flatMap(([verb, right]) =>
  AUDIENCES.flatMap((audience) =>
    [anonymous, user].flatMap((who, isUser) =>
      [false, true].map((subscribed, isSubscribed) => ({
        verb,
        right,
        audience,
        who,
        subscribed,
        decision: expected[audience][isUser * 2 + isSubscribed]!,
      })),
    ),
  ),
);

describe('decide', () => {
  it('covers every combination of verb, audience, person and subscription', () => {
    expect(combinations).toHaveLength(3 * 4 * 2 * 2);
  });

  it.each(combinations)(
    '$verb with $right: $audience is $decision for $who.kind (subscribed: $subscribed)',
    ({ verb, right, audience, who, subscribed, decision }) => {
      expect(decide(verb, who, { ...nobody, [right]: audience }, { subscribed })).toBe(decision);
      // The rights to the other verbs have no say.
      expect(decide(verb, who, { ...everybody, [right]: audience }, { subscribed })).toBe(decision);
    },
  );
});
