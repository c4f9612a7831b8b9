// `refresh`: another token of the same user takes the place of the one the connection has.
import type { ReplyOf } from '../../../protocol/replies.ts';
import type { Identity } from '../../access/tokens/claims.ts';
import { Failure } from '../../failure.ts';
import { endForbidden, expiresInMs, identityOf } from '../authentication.ts';
import type { CommandHandler } from '../command-handler.ts';
import type { Connection } from '../connection.ts';

type Refreshed = ReplyOf<'refreshed'>;

/** Told for a token that does not expire: as long as a client can set a timer. */
const FOR_EVER_MS = 2 ** 31 - 1;

/** Of each connection, how many refreshes it asked for, and the newest that took effect. */
const refreshes = new WeakMap<Connection, { asked: number; taken: number }>();

export const handleRefresh: CommandHandler<'refresh'> = (connection, { token }, services) => {
  const { tokens, expiry, clock } = services;
  const order = refreshes.get(connection) ?? { asked: 0, taken: 0 };
  refreshes.set(connection, order);
  const place = ++order.asked;
  const refreshed = (inForce: Identity): Refreshed => ({
    type: 'refreshed',
    expiresInMs: expiresInMs(inForce, clock.nowMs()) ?? FOR_EVER_MS,
  });
  const finish = (outcome: Parameters<typeof identityOf>[0]): Refreshed => {
    // A refused token changes nothing: the one that the connection has goes on until its own end.
    const next = identityOf(outcome, services);
    const present = connection.identity;
    if (present === null) throw new Failure('permissionDenied', 'refresh: this connection has no token');
    if (next.who.user !== present.who.user) {
      throw new Failure('permissionDenied', 'token: expected one of the same user');
    }
    // Keys may have been fetched for it while a newer token was verified at once: the older one must not take its rights away.
    if (place < order.taken) return refreshed(present);
    if (connection.isOpen()) {
      order.taken = place;
      connection.identity = next;
      expiry.schedule(connection);
      endForbidden(connection, services);
    }
    return refreshed(next);
  };
  const outcome = tokens.verify(token, () => connection.isOpen());
  return outcome instanceof Promise ? outcome.then(finish) : finish(outcome);
};
