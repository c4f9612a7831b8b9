// Whether somebody may do something with a channel: one pure decision for every transport, dialect and call.

/** Whom a namespace lets do something, from widest to narrowest. */
export const AUDIENCES = ['everyone', 'authenticated', 'subscribers', 'nobody'] as const;
export type Audience = (typeof AUDIENCES)[number];

export const VERBS = ['subscribe', 'publish', 'presence', 'history'] as const;
export type Verb = (typeof VERBS)[number];

/** What a token grants: by verb whether a channel is covered. A verb that is absent is left to the namespace. */
export type Grants = Readonly<Partial<Record<Verb, (channel: string) => boolean>>> & {
  /** Channels the server subscribes it to, which includes the right to be subscribed. */
  readonly channels?: ReadonlySet<string>;
};

export type Who =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'user'; readonly user: string; readonly grants?: Grants };

/** The rights part of a namespace. `historyAccess` and `membersAccess` have their names because `history` and `presence` are settings. */
export interface NamespaceRights {
  readonly subscribe: Audience;
  readonly publish: Audience;
  readonly membersAccess: Audience;
  readonly historyAccess: Audience;
}

/** What the connection has of the channel already. */
export interface ChannelStanding {
  readonly subscribed: boolean;
  /** The application subscribed it: it needs no right of its own to be subscribed. */
  readonly byServer?: boolean;
}

export type Decision = 'granted' | 'denied';

const RIGHT_OF = {
  subscribe: 'subscribe',
  publish: 'publish',
  presence: 'membersAccess',
  history: 'historyAccess',
} as const satisfies Record<Verb, keyof NamespaceRights>;

const byAudience = (audience: Audience, who: Who, { subscribed }: ChannelStanding): boolean => {
  switch (audience) {
    case 'everyone':
      return true;
    case 'authenticated':
      return who.kind === 'user';
    case 'subscribers':
      return subscribed;
    case 'nobody':
      return false;
  }
};

/**
 * A list of the token decides alone, whether it gives more than the namespace or less; without one the namespace does.
 * The namespace is looked up only where it decides. `subscribers` means whoever this connection already lets listen to the
 * channel, with or without a user: who may hear may answer.
 */
export const decide = (
  verb: Verb,
  who: Who,
  channel: string,
  rightsOf: (channel: string) => NamespaceRights,
  standing: ChannelStanding,
): Decision => {
  const grants = who.kind === 'user' ? who.grants : undefined;
  if (verb === 'subscribe' && (standing.byServer === true || grants?.channels?.has(channel) === true)) return 'granted';
  const grant = grants?.[verb];
  const isGranted = grant === undefined ? byAudience(rightsOf(channel)[RIGHT_OF[verb]], who, standing) : grant(channel);
  return isGranted ? 'granted' : 'denied';
};
