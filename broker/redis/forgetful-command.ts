// Commands that forget what they sent once it is written.
//
// Of each command ioredis keeps functions as its properties. V8 takes a function literal that is assigned to a property for one that
// lives long, and puts it straight into the old generation. There it holds the command, dead or not, until that generation is
// collected, and the command all that can be reached from it: collections of the young generation take the lot for alive
// (docs/adr/0026-a-publication-is-its-record.md).
import { Command, type Redis } from 'ioredis';

type Argument = string | number | Buffer;

const NOTHING = Buffer.alloc(0);

/** A command whose bytes are made already. */
class EncodedCommand extends Command {
  private frame: Buffer;

  constructor(name: string, frame: Buffer) {
    super(name, [], { replyEncoding: 'utf8' });
    this.frame = frame;
  }

  override toWritable(): Buffer {
    return this.frame;
  }

  forget(): void {
    this.frame = NOTHING;
  }
}

/**
 * Sends `frame` as it is; strings of the reply are decoded as UTF-8. Here and below the connection must keep no queue of what it
 * cannot write yet (`enableOfflineQueue`, link.ts): the client then asks for the bytes now or never.
 */
export const sendEncoded = (redis: Redis, name: string, frame: Buffer): Promise<unknown> => {
  const command = new EncodedCommand(name, frame);
  redis.sendCommand(command);
  command.forget();
  return command.promise;
};

/** Sends a command; bulk strings of the reply are Buffers. */
export const sendOnce = (redis: Redis, name: string, args: Argument[]): Promise<unknown> => {
  const command = new Command(name, args, { replyEncoding: null });
  redis.sendCommand(command);
  command.args = [];
  return command.promise;
};
