// `connect`: the first command, tells the client who and where it is.
import type { ReplyOf } from '../../../protocol/replies.ts';
import { closeCodes } from '../../../protocol/codes.ts';
import type { Ending } from '../../access/limits/limits.ts';
import { Failure } from '../../failure.ts';
import type { CommandHandler } from '../command-handler.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';

const connected = (connection: Connection, services: SessionServices): ReplyOf<'connected'> => {
  const { settings, brokerState, clock } = services;
  return {
    type: 'connected',
    connection: connection.id,
    node: settings.nodeName,
    session: connection.session,
    pingIntervalMs: settings.pingIntervalMs,
    limits: { maxFrameBytes: settings.maxFrameBytes, maxSubscriptions: settings.maxSubscriptions },
    broker: brokerState(),
    serverTime: clock.nowMs(),
  };
};

/** Counts the connection for its user; one too many is closed. The other nodes may have to be asked. */
const enterUser = (connection: Connection, { limits }: SessionServices): Promise<void> | undefined => {
  const { who, account } = connection;
  const entered = who.kind === 'user' ? limits.enterUser(account, who.user, connection) : undefined;
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
 * names a session is no newcomer and stays, whatever becomes of the session.
 */
export const refusedByOverload = (
  connection: Connection,
  session: string | undefined,
  { overload }: SessionServices,
): boolean => {
  const anonymous = connection.who.kind === 'anonymous';
  const retryAfterMs = overload.refuseConnect({ anonymous, resumes: session !== undefined });
  if (retryAfterMs === undefined) return false;
  connection.close(closeCodes.tryLater.code, `retryAfterMs=${retryAfterMs}`);
  return true;
};

export const handleConnect: CommandHandler<'connect'> = (connection, command, services) => {
  const { settings, sessions } = services;
  if (connection.state !== 'open') throw new Failure('badRequest', 'connect: this connection is connected already');
  if (command.token !== undefined)
    throw new Failure('notAvailable', 'token: token verification is not available on this node');
  if (!settings.anonymous) throw new Failure('unauthorized', 'token: expected one, got nothing');
  if (refusedByOverload(connection, command.session, services)) return undefined;
  connection.state = 'connected';
  const goOn = (): ReplyOf<'connected'> | Promise<ReplyOf<'connected'>> => {
    const continued = command.session === undefined ? undefined : sessions.continue(connection, command.session);
    return continued === undefined
      ? connected(connection, services)
      : continued.then(() => connected(connection, services));
  };
  const entered = enterUser(connection, services);
  return entered === undefined ? goOn() : entered.then(goOn);
};
