// `history`: a page of what the channel still holds.
import type { CommandHandler } from '../command-handler.ts';

export const handleHistory: CommandHandler<'history'> = async (connection, command, services) => {
  const { channel, since, limit, reverse } = command;
  const subscribed = connection.subscriptions.has(channel);
  services.access.require('history', connection.who, channel, { subscribed });
  return { type: 'history', page: await services.reading.read({ channel, since, limit, reverse }) };
};
