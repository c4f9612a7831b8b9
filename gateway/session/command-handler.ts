// The contract of a command's handler: does what a client asks for and says what to answer.
import type { CommandOf, CommandType } from '../../protocol/commands.ts';
import type { Reply } from '../../protocol/replies.ts';
import type { Connection } from './connection.ts';
import type { SessionServices } from './services.ts';

/** Throws or rejects with `Failure` when it cannot be done. The reply's id is filled in by the caller. */
export type CommandHandler<T extends CommandType> = (
  connection: Connection,
  command: CommandOf<T>,
  services: SessionServices,
) => Reply | Promise<Reply>;
