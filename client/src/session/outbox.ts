// Commands of one tick, sent together: at most 64 per frame, and no frame over the limit of the server.
import { MAX_COMMANDS_PER_FRAME } from '../../../protocol/limits.ts';
import { byteLength, joinFrame } from '../protocol/codec.ts';

export interface Outbox {
  add(command: string): void;
  /** Commands added and not sent yet. */
  readonly bytes: number;
}

/** Brackets, or the comma before a command. */
const FRAMING_BYTES = 2;

export const createOutbox = (
  send: (frame: string) => void,
  maxFrameBytes: () => number,
  onFlushed: () => void,
): Outbox => {
  let commands: string[] = [];
  let sizes: number[] = [];
  let bytes = 0;

  const flush = (): void => {
    const [batch, batchSizes] = [commands, sizes];
    commands = [];
    sizes = [];
    bytes = 0;
    let frame: string[] = [];
    let frameBytes = FRAMING_BYTES;
    batch.forEach((command, index) => {
      const size = batchSizes[index]! + FRAMING_BYTES;
      if (frame.length === MAX_COMMANDS_PER_FRAME || (frame.length > 0 && frameBytes + size > maxFrameBytes())) {
        send(joinFrame(frame));
        frame = [];
        frameBytes = FRAMING_BYTES;
      }
      frame.push(command);
      frameBytes += size;
    });
    send(joinFrame(frame));
    onFlushed();
  };

  return {
    add: (command) => {
      if (commands.length === 0) queueMicrotask(flush);
      const size = byteLength(command);
      commands.push(command);
      sizes.push(size);
      bytes += size;
    },
    get bytes() {
      return bytes;
    },
  };
};
