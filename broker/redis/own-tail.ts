// The newest publications this node had acknowledged, by whichever server: what it can restore of channels it does not
// receive. A server that took over has another address, so its own shard knows nothing of before.
import type { ChannelPosition } from '../broker.ts';
import type { PublishRequest } from '../publication.ts';
import { keepRecord } from './record.ts';

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_AGE_MS = 10_000;
/** What an entry costs beside its record. */
const ENTRY_BYTES = 112;
const COMPACT_AT = 1_024;

export interface OwnPublication extends ChannelPosition {
  readonly channel: string;
  readonly messageId: string | undefined;
  /** As the log has it. */
  readonly record: Buffer;
}

export interface OwnTail {
  /** @param atMs monotonic, ms */
  add(request: PublishRequest, position: ChannelPosition, atMs: number): void;
  /** In the order of their acknowledgement. */
  all(): readonly OwnPublication[];
}

/** One object: thousands are kept for about as long as the collector needs to take them for old, and all die soon after. */
class Entry implements OwnPublication {
  readonly channel: string;
  readonly messageId: string | undefined;
  readonly epoch: string;
  readonly offset: number;
  readonly atMs: number;
  private readonly memory: Buffer;
  private readonly at: number;
  private readonly end: number;

  constructor(request: PublishRequest, { epoch, offset }: ChannelPosition, atMs: number) {
    this.channel = request.channel;
    this.messageId = request.messageId;
    this.epoch = epoch;
    this.offset = offset;
    this.atMs = atMs;
    ({ memory: this.memory, at: this.at, end: this.end } = keepRecord(request.key, request.timeMs, request.body));
  }

  get record(): Buffer {
    return this.memory.subarray(this.at, this.end);
  }

  get bytes(): number {
    return ENTRY_BYTES + this.end - this.at;
  }
}

export const createOwnTail = ({ maxBytes = MAX_BYTES, maxAgeMs = MAX_AGE_MS } = {}): OwnTail => {
  let entries: Entry[] = [];
  let first = 0;
  let bytes = 0;

  return {
    add(request, position, atMs) {
      const entry = new Entry(request, position, atMs);
      entries.push(entry);
      bytes += entry.bytes;
      for (;;) {
        const oldest = entries[first];
        if (oldest === undefined || (bytes <= maxBytes && atMs - oldest.atMs <= maxAgeMs)) break;
        bytes -= oldest.bytes;
        first += 1;
      }
      if (first < COMPACT_AT || first * 2 < entries.length) return;
      entries = entries.slice(first);
      first = 0;
    },
    all: () => entries.slice(first),
  };
};
