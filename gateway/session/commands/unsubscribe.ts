// `unsubscribe`: ends a subscription; no message of the channel follows the reply.
import { Failure } from '../../failure.ts';
import type { CommandHandler } from '../command-handler.ts';
import { endSubscription } from './subscribe.ts';

export const handleUnsubscribe: CommandHandler<'unsubscribe'> = (connection, { channel }, services) => {
  // One that was to come back with the session is a subscription as well.
  const wasRestored = services.sessions.take(connection, channel);
  if (!connection.subscriptions.has(channel) && !wasRestored)
    throw new Failure('notSubscribed', `${channel} is not subscribed`);
  connection.serverChannels?.delete(channel);
  endSubscription(connection, channel, services.hub);
  services.sessions.handleChanged(connection);
  return { type: 'unsubscribed', channel };
};
