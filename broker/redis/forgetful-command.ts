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

  /** @param key a key of the command, for whoever routes it */
  constructor(name: string, key: string, frame: Buffer) {
    super(name, [key], { replyEncoding: 'utf8' });
    this.frame = frame;
  }

  override toWritable(): Buffer {
    return this.frame;
  }

  forget(): void {
    this.frame = NOTHING;
  }
}

/** Sends `frame` as it is. The links keep no queue of what could not be written: the client asks for the bytes now or never. */
export const sendEncoded = (redis: Redis, name: string, key: string, frame: Buffer): Promise<unknown> => {
  const command = new EncodedCommand(name, key, frame);
  redis.sendCommand(command);
  command.forget();
  return command.promise;
};

/** Bulk strings of the reply are Buffers. */
export const sendOnce = (redis: Redis, name: string, args: Argument[]): Promise<unknown> => {
  const command = new Command(name, args, { replyEncoding: null });
  redis.sendCommand(command);
  command.args = [];
  return command.promise;
};
