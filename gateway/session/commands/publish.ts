// `publish`: a client's publication, stamped with who it is.
import type { CommandHandler } from '../command-handler.ts';

export const handlePublish: CommandHandler<'publish'> = async (connection, command, services) => {
  const { channel, data, key, messageId } = command;
  const subscribed = connection.subscriptions.has(channel);
  services.access.require('publish', connection.who, channel, { subscribed });
  const { who, id } = connection;
  const publisher = who.kind === 'user' ? { user: who.user, connection: id } : { connection: id };
  const result = await services.publishing.publish({ channel, data, key, messageId, publisher, source: 'client' });
  return { type: 'published', channel, ...result };
};
