// `unsubscribe`: ends a subscription; no message of the channel follows the reply.
import { Failure } from '../../failure.ts';
import type { CommandHandler } from '../command-handler.ts';

export const handleUnsubscribe: CommandHandler<'unsubscribe'> = (connection, { channel }, services) => {
  const entry = connection.subscriptions.get(channel);
  if (entry === undefined) throw new Failure('notSubscribed', `${channel} is not subscribed`);
  connection.subscriptions.delete(channel);
  // One that is still being opened is ended by its own command, which finds itself replaced.
  if (entry instanceof Promise) connection.abandonedOpenings++;
  else services.hub.unsubscribe(entry);
  return { type: 'unsubscribed', channel };
};
