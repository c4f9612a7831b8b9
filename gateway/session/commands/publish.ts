// `publish`: a client's publication, stamped with who it is.
import { Failure } from '../../failure.ts';
import type { CommandHandler } from '../command-handler.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';

/** The newest decision asked of the application for each connection and channel: publications leave in the order they came. */
const decisions = new WeakMap<Connection, Map<string, Promise<unknown>>>();

/** Resolves when the publication is allowed and those before it on the channel are decided. */
const allowedInTurn = async (connection: Connection, channel: string, decision: Promise<void>): Promise<void> => {
  const byChannel = decisions.get(connection) ?? new Map<string, Promise<unknown>>();
  decisions.set(connection, byChannel);
  const before = byChannel.get(channel);
  const turn = Promise.allSettled([before, decision]);
  byChannel.set(channel, turn);
  await turn;
  if (byChannel.get(channel) === turn) byChannel.delete(channel);
  await decision;
};

/** Throws `Failure` overloaded while the node takes no more from clients. */
const requireTaken = ({ overload }: SessionServices): void => {
  const retryAfterMs = overload.refusePublish('client');
  if (retryAfterMs !== undefined) throw new Failure('overloaded', 'the node sheds client publishes', retryAfterMs);
};

export const handlePublish: CommandHandler<'publish'> = async (connection, command, services) => {
  const { channel, data, key, messageId } = command;
  requireTaken(services);
  const entry = connection.subscriptions.get(channel);
  const { limits, namespaceOf } = services;
  // Commands on one channel keep their order: who subscribes and then publishes receives the own message.
  if (entry instanceof Promise) await entry.catch(() => undefined);
  const subscribed = connection.subscriptions.has(channel);
  services.access.require('publish', connection.who, channel, { subscribed });
  const share = limits.takePublish(connection.account, channel, namespaceOf(channel).rate);
  if (share !== undefined) await share;
  const { who, id } = connection;
  const publisher = who.kind === 'user' ? { user: who.user, connection: id } : { connection: id };
  const content = services.publishing.write({ data, key, publisher });
  const { hookPublish } = services.namespaceOf(channel);
  const decision = hookPublish ? services.hooks.publish(connection.asker, { channel, data, key }) : undefined;
  if (decision !== undefined) {
    await allowedInTurn(connection, channel, decision);
    // All that waited for decisions come at once, and none was under way when it was let in.
    requireTaken(services);
  }
  const result = await services.publishing.publish({ channel, content, messageId, source: 'client' });
  return { type: 'published', channel, ...result };
};
