// `ack`: messages up to an offset were processed; there is no reply.
import { Failure } from '../../failure.ts';
import type { CommandOf } from '../../../protocol/commands.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';

/** Throws `Failure` notSubscribed, or badRequest for another policy or an offset that was never sent. */
export const handleAck = (connection: Connection, command: CommandOf<'ack'>, { hub }: SessionServices): void => {
  const { channel, offset } = command;
  const entry = connection.subscriptions.get(channel);
  if (entry === undefined || entry instanceof Promise)
    throw new Failure('notSubscribed', `${channel} is not subscribed`);
  hub.acknowledge(entry, offset);
};
