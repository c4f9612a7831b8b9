// A subscriber for tests of the fan-out: records frames, and can be slow or gone.
import { weirDialect } from '../dialects/weir.ts';
import type { Subscriber } from './channel-state.ts';

export interface ReceivedMessage {
  readonly type: string;
  readonly channel: string;
  readonly offset: number;
  readonly data: unknown;
  readonly from: number | null;
  readonly to: number | null;
  readonly reason: string;
}

export interface TestSubscriber extends Subscriber {
  /** Frames in the order they were handed over. */
  readonly frames: Buffer[];
  /** Messages and gaps of all frames, batches taken apart. */
  received(): ReceivedMessage[];
  corks: number;
  buffered: number;
  open: boolean;
  lostFrames: number;
  dismissed: boolean;
}

export const createTestSubscriber = (): TestSubscriber => {
  const frames: Buffer[] = [];
  return {
    dialect: weirDialect,
    pendingHead: null,
    parked: false,
    lane: null,
    frames,
    corks: 0,
    buffered: 0,
    open: true,
    lostFrames: 0,
    dismissed: false,
    received: () => frames.flatMap((frame) => JSON.parse(frame.toString()) as ReceivedMessage | ReceivedMessage[]),
    isOpen() {
      return this.open;
    },
    sendFrame: (frame) => frames.push(frame),
    cork(write) {
      this.corks++;
      write();
    },
    listen: () => false,
    unlisten: () => undefined,
    bufferedBytes() {
      return this.buffered;
    },
    dismiss() {
      this.dismissed = true;
      this.parked = true;
    },
    handleLostFrame() {
      this.lostFrames++;
      this.open = false;
    },
  };
};

/** Publications with offsets `from` to `to`, each with its offset as data. */
export const publicationsOf = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => {
    const offset = from + index;
    const body = Buffer.from(`{"data":${offset},"time":1}`);
    return { offset, timeMs: 1, key: undefined, body, bodyBytes: body.length };
  });
