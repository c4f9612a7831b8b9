// Whether a namespace lets somebody subscribe, publish or read history: one pure decision.

/** Whom a namespace lets do something, from widest to narrowest. */
export const AUDIENCES = ['everyone', 'authenticated', 'subscribers', 'nobody'] as const;
export type Audience = (typeof AUDIENCES)[number];

export type Verb = 'subscribe' | 'publish' | 'history';

export type Who = { readonly kind: 'anonymous' } | { readonly kind: 'user'; readonly user: string };

/** The rights part of a namespace. `historyAccess` has its name because `history` holds the bounds. */
export interface NamespaceRights {
  readonly subscribe: Audience;
  readonly publish: Audience;
  readonly historyAccess: Audience;
}

export type Decision = 'granted' | 'denied';

const audienceOf = (verb: Verb, rights: NamespaceRights): Audience => {
  switch (verb) {
    case 'subscribe':
      return rights.subscribe;
    case 'publish':
      return rights.publish;
    case 'history':
      return rights.historyAccess;
  }
};

/**
 * Decides from the namespace alone. `subscribers` means whoever this connection already lets listen to the channel,
 * with or without a user: who may hear may answer.
 */
export const decide = (
  verb: Verb,
  who: Who,
  rights: NamespaceRights,
  state: { readonly subscribed: boolean },
): Decision => {
  switch (audienceOf(verb, rights)) {
    case 'everyone':
      return 'granted';
    case 'authenticated':
      return who.kind === 'user' ? 'granted' : 'denied';
    case 'subscribers':
      return state.subscribed ? 'granted' : 'denied';
    case 'nobody':
      return 'denied';
  }
};
