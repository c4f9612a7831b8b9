// The single place where a client's wish meets its rights: granted, or a typed refusal.
import { Failure } from '../failure.ts';
import { type ChannelStanding, decide, type NamespaceRights, type Verb, type Who } from './rights.ts';

export interface Access {
  may(verb: Verb, who: Who, channel: string, standing: ChannelStanding): boolean;
  /** Throws `Failure` permissionDenied when `who` may not do this to the channel. */
  require(verb: Verb, who: Who, channel: string, standing: ChannelStanding): void;
}

export const createAccess = (rightsOf: (channel: string) => NamespaceRights): Access => {
  const may: Access['may'] = (verb, who, channel, standing) =>
    decide(verb, who, channel, rightsOf, standing) === 'granted';
  return {
    may,
    require(verb, who, channel, standing) {
      if (!may(verb, who, channel, standing)) {
        throw new Failure('permissionDenied', `${verb} on this channel is not granted`);
      }
    },
  };
};
