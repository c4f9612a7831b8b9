// The newest publications this node had acknowledged, by whichever server: what it can restore of channels it does not
// receive. A server that took over has another address, so its own shard knows nothing of before.
//
// All of them lie in one piece of memory that is written round and round: as objects, thousands per second that live for
// about a second would grow old in the heap.
import type { ChannelPosition } from '../broker.ts';
import type { PublishRequest } from '../publication.ts';
import { keyBytesOf, recordBytes, writeRecord } from './record.ts';

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_AGE_MS = 10_000;

export interface OwnPublication extends ChannelPosition {
  readonly channel: string;
  readonly messageId: string | undefined;
  /** As the log has it. */
  readonly record: Buffer;
}

export interface OwnTail {
  /** @param atMs monotonic, ms */
  add(request: PublishRequest, position: ChannelPosition, atMs: number): void;
  /** In the order of their acknowledgement; copies. */
  all(): readonly OwnPublication[];
}

// Entry (little endian): u32 bytes of all | u32 bytes of the texts | u16 channel | u16 epoch | u16 message id, characters
//                        | f64 offset | f64 monotonic time, ms | channel, epoch and message id, UTF-8 | record
const TEXTS_BYTES_AT = 4;
const CHANNEL_AT = 8;
const EPOCH_AT = 10;
const MESSAGE_ID_AT = 12;
const OFFSET_AT = 14;
const TIME_AT = 22;
const HEAD_BYTES = 30;

const readEntry = (memory: Buffer, at: number): OwnPublication => {
  const textsAt = at + HEAD_BYTES;
  const recordAt = textsAt + memory.readUInt32LE(at + TEXTS_BYTES_AT);
  const texts = memory.toString('utf8', textsAt, recordAt);
  const channelEnd = memory.readUInt16LE(at + CHANNEL_AT);
  const epochEnd = channelEnd + memory.readUInt16LE(at + EPOCH_AT);
  const hasMessageId = memory.readUInt16LE(at + MESSAGE_ID_AT) > 0;
  return {
    channel: texts.slice(0, channelEnd),
    epoch: texts.slice(channelEnd, epochEnd),
    messageId: hasMessageId ? texts.slice(epochEnd) : undefined,
    offset: memory.readDoubleLE(at + OFFSET_AT),
    record: Buffer.from(memory.subarray(recordAt, at + memory.readUInt32LE(at))),
  };
};

export const createOwnTail = ({ maxBytes = MAX_BYTES, maxAgeMs = MAX_AGE_MS } = {}): OwnTail => {
  // The system gives pages when they are written to first.
  const memory = Buffer.allocUnsafeSlow(maxBytes);
  let count = 0;
  /** The oldest entry, and where the next one begins; below the oldest when the entries go on at the front. */
  let first = 0;
  let end = 0;
  /** Behind the last entry before the front. */
  let turnAt = Infinity;

  const behind = (at: number): number => {
    const next = at + memory.readUInt32LE(at);
    return next === turnAt ? 0 : next;
  };

  const dropFirst = (): void => {
    const next = behind(first);
    if (next < first) turnAt = Infinity;
    first = next;
    count -= 1;
    if (count > 0) return;
    first = 0;
    end = 0;
    turnAt = Infinity;
  };

  const dropOlderThan = (timeMs: number): void => {
    while (count > 0 && memory.readDoubleLE(first + TIME_AT) < timeMs) dropFirst();
  };

  /** Where so many bytes may be written; at their expense the oldest go. */
  const reserve = (bytes: number): number => {
    if (end + bytes > maxBytes) {
      while (count > 0 && first >= end) dropFirst();
      if (count > 0) turnAt = end;
      end = 0;
    }
    while (count > 0 && first >= end && first < end + bytes) dropFirst();
    const at = end;
    end += bytes;
    count += 1;
    return at;
  };

  return {
    add({ channel, messageId = '', key, timeMs, body }, { epoch, offset }, atMs) {
      const texts = channel + epoch + messageId;
      const textsBytes = Buffer.byteLength(texts);
      const keyBytes = keyBytesOf(key);
      const bytes = HEAD_BYTES + textsBytes + recordBytes(keyBytes, body.length);
      // What is kept is the newest without a hole: behind one that has no room there is nothing yet.
      dropOlderThan(bytes > maxBytes ? Infinity : atMs - maxAgeMs);
      if (bytes > maxBytes) return;
      const at = reserve(bytes);
      memory.writeUInt32LE(bytes, at);
      memory.writeUInt32LE(textsBytes, at + TEXTS_BYTES_AT);
      memory.writeUInt16LE(channel.length, at + CHANNEL_AT);
      memory.writeUInt16LE(epoch.length, at + EPOCH_AT);
      memory.writeUInt16LE(messageId.length, at + MESSAGE_ID_AT);
      memory.writeDoubleLE(offset, at + OFFSET_AT);
      memory.writeDoubleLE(atMs, at + TIME_AT);
      memory.write(texts, at + HEAD_BYTES, 'utf8');
      writeRecord(memory, at + HEAD_BYTES + textsBytes, keyBytes, key, timeMs, body);
    },
    all() {
      const entries: OwnPublication[] = [];
      for (let at = first; entries.length < count; at = behind(at)) entries.push(readEntry(memory, at));
      return entries;
    },
  };
};
