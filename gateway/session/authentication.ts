// What the tokens of connections mean for them: admission, replacement, and what happens when the rights shrink.
import { closeCodes } from '../../protocol/codes.ts';
import type { Identity } from '../access/tokens/claims.ts';
import type { TokenOutcome } from '../access/tokens/verifier.ts';
import { ClosingFailure, Failure } from '../failure.ts';
import { endSubscription } from './commands/subscribe.ts';
import type { Connection } from './connection.ts';
import type { SessionServices } from './services.ts';

/** Delay named to clients while the keys of the issuer cannot be fetched, ms. */
const KEYS_RETRY_MS = 2000;

/** The identity of a token, unless it was revoked. Throws `Failure` unauthorized, tokenExpired or internal. */
export const identityOf = (outcome: TokenOutcome, { revocations }: SessionServices): Identity => {
  switch (outcome.kind) {
    case 'valid':
      if (revocations.isRevoked(outcome.identity)) throw new Failure('unauthorized', 'token: it was revoked');
      return outcome.identity;
    case 'invalid':
      throw new Failure('unauthorized', `token: ${outcome.message}`);
    case 'expired':
      throw new Failure('tokenExpired', `token: ${outcome.message}`);
    case 'unavailable':
      throw new Failure('internal', `token: ${outcome.message}`, KEYS_RETRY_MS);
  }
};

/** What a refused `connect` ends with: a client that is nobody gets no further. */
export const refusedConnect = (failure: Failure): ClosingFailure => {
  switch (failure.error) {
    case 'permissionDenied':
      return new ClosingFailure(failure, closeCodes.permissionDenied.code, closeCodes.permissionDenied.name);
    case 'tokenExpired':
      return new ClosingFailure(failure, closeCodes.tokenExpired.code, closeCodes.tokenExpired.name);
    case 'internal':
      return new ClosingFailure(failure, closeCodes.tryLater.code, `retryAfterMs=${KEYS_RETRY_MS}`);
    default:
      return new ClosingFailure(failure, closeCodes.invalidToken.code, closeCodes.invalidToken.name);
  }
};

/** Ms until the token of the connection ends; undefined when it does not. */
export const expiresInMs = ({ expiresAtMs }: Identity, nowMs: number): number | undefined =>
  expiresAtMs === Infinity ? undefined : Math.max(0, expiresAtMs - nowMs);

/** Ends the subscriptions that the connection may not have any more, each with an `unsubscribed` push. */
export const endForbidden = (connection: Connection, services: SessionServices): void => {
  const { access, hub, sessions } = services;
  const { who, serverChannels } = connection;
  for (const channel of [...connection.subscriptions.keys()]) {
    const byServer = serverChannels?.get(channel)?.by === 'application';
    if (access.may('subscribe', who, channel, { subscribed: false, byServer })) continue;
    sessions.take(connection, channel);
    endSubscription(connection, channel, hub);
    sessions.handleChanged(connection);
    const { code, name } = new Failure('permissionDenied', '').code;
    connection.send({ type: 'unsubscribed', channel, code, reason: name });
  }
};
