// The single place where a client's wish meets its rights: granted, or a typed refusal.
import { Failure } from '../failure.ts';
import { decide, type NamespaceRights, type Verb, type Who } from './rights.ts';

export interface Access {
  /** Throws `Failure` permissionDenied when `who` may not do this to the channel. */
  require(verb: Verb, who: Who, channel: string, state: { readonly subscribed: boolean }): void;
}

export const createAccess = (rightsOf: (channel: string) => NamespaceRights): Access => ({
  require(verb, who, channel, state) {
    if (decide(verb, who, rightsOf(channel), state) === 'denied') {
      throw new Failure('permissionDenied', `${verb} on this channel is not granted`);
    }
  },
});
