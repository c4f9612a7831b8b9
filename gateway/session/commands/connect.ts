// `connect`: the first command, says who the client is and tells it where it is.
import type { CommandOf } from '../../../protocol/commands.ts';
import type { ReplyOf } from '../../../protocol/replies.ts';
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

/** Lets the client in. Who it is stands before its session is continued: the session asks for its owner. */
const admit = (
  connection: Connection,
  { session }: CommandOf<'connect'>,
  identity: Identity | null,
  services: SessionServices,
): Connected | Promise<Connected> => {
  const { sessions, directory, expiry, revocations } = services;
  if (session !== undefined && revocations.isSessionRevoked(session))
    throw refusedConnect(new Failure('unauthorized', 'session: it was revoked'));
  connection.identity = identity;
  connection.state = 'connected';
  if (identity !== null) {
    directory.identify(connection, identity.who.user);
    expiry.schedule(connection);
  }
  const continued = session === undefined ? undefined : sessions.continue(connection, session);
  const finish = (): Connected => {
    subscribeOwnChannels(connection, services);
    return connected(connection, services);
  };
  return continued === undefined ? finish() : continued.then(finish);
};

/** Throws `ClosingFailure` for a token that is none, or is over, or was revoked. */
const judge = (outcome: Parameters<typeof identityOf>[0], services: SessionServices): Identity => {
  try {
    return identityOf(outcome, services);
  } catch (thrown) {
    throw thrown instanceof Failure ? refusedConnect(thrown) : thrown;
  }
};

/** `onAdmitted` is called when the token took more than a moment, as soon as the client is let in. */
export const handleConnect = (
  connection: Connection,
  command: CommandOf<'connect'>,
  services: SessionServices,
  onAdmitted: () => void,
): Connected | Promise<Connected> => {
  if (connection.state !== 'open') throw new Failure('badRequest', 'connect: this connection is connected already');
  if (command.token === undefined) {
    if (!services.settings.anonymous) throw new Failure('unauthorized', 'token: expected one, got nothing');
    return admit(connection, command, null, services);
  }
  const outcome = services.tokens.verify(command.token, () => connection.isOpen());
  if (!(outcome instanceof Promise)) return admit(connection, command, judge(outcome, services), services);
  connection.state = 'authenticating';
  return outcome.then((settled) => {
    if (!connection.isOpen()) throw new Failure('unauthorized', 'the connection is closed');
    const reply = admit(connection, command, judge(settled, services), services);
    onAdmitted();
    return reply;
  });
};
