// `connect`: the first command, says who the client is and tells it where it is.
import type { CommandOf } from '../../../protocol/commands.ts';
import type { ReplyOf } from '../../../protocol/replies.ts';
import { closeCodes } from '../../../protocol/codes.ts';
import type { Ending } from '../../access/limits/limits.ts';
import type { Identity } from '../../access/tokens/claims.ts';
import { Failure } from '../../failure.ts';
import { expiresInMs, identityOf, refusedConnect } from '../authentication.ts';
import type { Connection } from '../connection.ts';
import { subscribeOwnChannels } from '../server-subscriptions.ts';
import type { SessionServices } from '../services.ts';

type Connected = ReplyOf<'connected'>;

const connected = (connection: Connection, services: SessionServices): Connected => {
  const { settings, brokerState, clock } = services;
  const { identity } = connection;
  return {
    type: 'connected',
    connection: connection.id,
    node: settings.nodeName,
    session: connection.session,
    user: identity?.who.user,
    expiresInMs: identity === null ? undefined : expiresInMs(identity, clock.nowMs()),
    pingIntervalMs: settings.pingIntervalMs,
    limits: { maxFrameBytes: settings.maxFrameBytes, maxSubscriptions: settings.maxSubscriptions },
    broker: brokerState(),
    serverTime: clock.nowMs(),
  };
};

/** Counts the connection for its user; one too many is closed. The other nodes may have to be asked. */
const enterUser = (connection: Connection, { limits }: SessionServices): Promise<void> | undefined => {
  const { who, account } = connection;
  const entered = who.kind === 'user' ? limits.enterUser(account, who.user) : undefined;
  const handle = (ending: Ending | undefined): void => {
    if (ending === undefined) return;
    connection.close(ending.code, ending.reason);
    throw new Failure('limitExceeded', ending.reason);
  };
  if (entered instanceof Promise) return entered.then(handle);
  handle(entered);
  return undefined;
};

/**
 * Ends a connection that the overload ladder has no room for: 1013, with a delay of its own. Returns whether it did. Whoever
 * says that it was here before is believed, as in the order of admission: refusing it would lose what it waits for.
 */
export const refusedByOverload = (
  connection: Connection,
  newcomer: Parameters<SessionServices['overload']['refuseConnect']>[0],
  { overload }: SessionServices,
): boolean => {
  const retryAfterMs = overload.refuseConnect(newcomer);
  if (retryAfterMs === undefined) return false;
  connection.close(closeCodes.tryLater.code, `retryAfterMs=${retryAfterMs}`);
  return true;
};

/** Throws `Failure` unauthorized for one that ended while something was waited for. */
const requireOpen = (connection: Connection): void => {
  if (!connection.isOpen()) throw new Failure('unauthorized', 'the connection is closed');
};

/** Throws `ClosingFailure` for one that was revoked. */
const requireSession = (session: string, { revocations }: SessionServices): void => {
  if (revocations.isSessionRevoked(session))
    throw refusedConnect(new Failure('unauthorized', 'session: it was revoked'));
};

/** Lets the client in. Who it is stands before its session is continued: the session asks for its owner. */
const admit = (
  connection: Connection,
  { session }: CommandOf<'connect'>,
  identity: Identity | null,
  services: SessionServices,
): Connected | Promise<Connected> => {
  const { sessions, directory, expiry, lifecycle } = services;
  if (session !== undefined) requireSession(session, services);
  connection.identity = identity;
  connection.state = 'connected';
  if (identity !== null) {
    directory.identify(connection, identity.who.user);
    expiry.schedule(connection);
  }
  const finish = (): Connected => {
    // It may have been revoked while it was claimed, when this connection did not have it yet.
    requireSession(connection.session, services);
    subscribeOwnChannels(connection, services);
    return connected(connection, services);
  };
  const goOn = (): Connected | Promise<Connected> => {
    // One that is gone must not take the session from the connection its client has by now.
    requireOpen(connection);
    const continued = session === undefined ? undefined : sessions.continue(connection, session);
    return continued === undefined ? finish() : continued.then(finish);
  };
  // What the client is told, the application is told as well, whatever becomes of this node.
  const tell = (): Connected | Promise<Connected> => {
    const told = connection.isOpen() ? lifecycle.connected(connection.asker) : undefined;
    return told === undefined ? goOn() : told.then(goOn);
  };
  const entered = enterUser(connection, services);
  return entered === undefined ? tell() : entered.then(tell);
};

/** Throws `ClosingFailure` for a token that is none, or is over, or was revoked. */
const judge = (outcome: Parameters<typeof identityOf>[0], services: SessionServices): Identity => {
  try {
    return identityOf(outcome, services);
  } catch (thrown) {
    throw thrown instanceof Failure ? refusedConnect(thrown) : thrown;
  }
};

/** Lets the client in as whom the application's hook says, where there is one. */
const askAndAdmit = (
  connection: Connection,
  command: CommandOf<'connect'>,
  identity: Identity | null,
  services: SessionServices,
  onAdmitted: () => void,
): Connected | Promise<Connected> => {
  const asker = { connection: connection.id, address: connection.address, user: identity?.who.user };
  const asked = services.hooks.connect(asker, command.client ?? {});
  const letIn = (who: Identity | null): Connected | Promise<Connected> => {
    const reply = admit(connection, command, who, services);
    onAdmitted();
    return reply;
  };
  if (asked === undefined) return letIn(identity);
  // What follows waits as for a token.
  connection.state = 'authenticating';
  return asked.then(
    (named) => {
      requireOpen(connection);
      const who = named ?? identity;
      if (who === null && !services.settings.anonymous)
        throw refusedConnect(new Failure('unauthorized', 'token: expected one, got nothing'));
      // Who is named is judged like a token: it may be over, or revoked. So may the token, by now.
      return letIn(who && judge({ kind: 'valid', identity: who }, services));
    },
    (thrown: unknown) => {
      throw thrown instanceof Failure ? refusedConnect(thrown) : thrown;
    },
  );
};

/** `onAdmitted` is called when the token or the application took more than a moment, as soon as the client is let in. */
export const handleConnect = (
  connection: Connection,
  command: CommandOf<'connect'>,
  services: SessionServices,
  onAdmitted: () => void,
): Connected | Promise<Connected> | undefined => {
  if (connection.state !== 'open') throw new Failure('badRequest', 'connect: this connection is connected already');
  const newcomer = {
    anonymous: command.token === undefined,
    resumes: command.session !== undefined || command.resume === true,
  };
  if (command.token === undefined) {
    if (!services.settings.anonymous && !services.hooks.decidesConnects)
      throw new Failure('unauthorized', 'token: expected one, got nothing');
    if (refusedByOverload(connection, newcomer, services)) return undefined;
    return askAndAdmit(connection, command, null, services, onAdmitted);
  }
  if (refusedByOverload(connection, newcomer, services)) return undefined;
  const outcome = services.tokens.verify(command.token, () => connection.isOpen());
  if (!(outcome instanceof Promise))
    return askAndAdmit(connection, command, judge(outcome, services), services, onAdmitted);
  connection.state = 'authenticating';
  return outcome.then((settled) => {
    requireOpen(connection);
    return askAndAdmit(connection, command, judge(settled, services), services, onAdmitted);
  });
};
