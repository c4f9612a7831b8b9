// `publish`: a client's publication, stamped with who it is.
import { Failure } from '../../failure.ts';
import type { CommandHandler } from '../command-handler.ts';

export const handlePublish: CommandHandler<'publish'> = async (connection, command, services) => {
  const { channel, data, key, messageId } = command;
  const retryAfterMs = services.overload.refusePublish('client');
  if (retryAfterMs !== undefined) throw new Failure('overloaded', 'the node sheds client publishes', retryAfterMs);
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
  const result = await services.publishing.publish({ channel, content, messageId, source: 'client' });
  return { type: 'published', channel, ...result };
};
