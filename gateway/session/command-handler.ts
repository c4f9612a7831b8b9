// The contract of a command's handler: does what a client asks for and says what to answer.
import type { CommandOf, CommandType } from '../../protocol/commands.ts';
import type { HistoryReply } from '../dialects/dialect.ts';
import type { Reply } from '../../protocol/replies.ts';
import type { Connection } from './connection.ts';
import type { SessionServices } from './services.ts';

/** The success reply of a command; its id is filled in by whoever runs the command. */
export type CommandReply = Exclude<Reply, { type: 'history' | 'error' }> | HistoryReply;

/** Throws or rejects with `Failure` when it cannot be done; undefined when the connection was closed instead. */
export type CommandHandler<T extends CommandType> = (
  connection: Connection,
  command: CommandOf<T>,
  services: SessionServices,
) => CommandReply | Promise<CommandReply> | undefined;
