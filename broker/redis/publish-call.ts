// One call of publish.lua: which publications it carries, its bytes on the wire, and what its answer means.
//
// The command is encoded here, as one buffer, because ioredis would build it from some ten strings per publication.
import { BrokerUnavailableError, type ChannelPosition, type PublishResult } from '../broker.ts';
import type { HistoryBounds, PublishRequest } from '../publication.ts';
import type { KeySpace } from './keys.ts';
import { keyBytesOf, recordBytes, writeRecord } from './record.ts';

/** A publication that waits for its position. */
export interface PendingPublish {
  readonly request: PublishRequest;
  readonly keyBytes: number;
  /** Monotonic, ms. */
  readonly queuedAtMs: number;
  resolve(result: PublishResult): void;
  reject(error: Error): void;
}

export interface PublishCall {
  /** Per channel, in the order of the script's keys; each in the order of publishing. */
  readonly groups: readonly (readonly PendingPublish[])[];
  readonly frame: Buffer;
}

export interface CallSettings {
  readonly sha: string;
  readonly keySpace: KeySpace;
  readonly numberingTtlMs: number;
  readonly idempotencyWindowMs: number;
}

const TOO_FEW_REPLICAS = 'the publication is in the log, but too few replicas have it';

export const toPending = (
  request: PublishRequest,
  queuedAtMs: number,
  resolve: PendingPublish['resolve'],
  reject: PendingPublish['reject'],
): PendingPublish => ({ request, keyBytes: keyBytesOf(request.key), queuedAtMs, resolve, reject });

export const bytesOf = ({ request, keyBytes }: PendingPublish): number => recordBytes(keyBytes, request.body.length);

const bulkOf = (text: string, bytes: number): string => `$${bytes}\r\n${text}\r\n`;
const bulk = (text: string): string => bulkOf(text, Buffer.byteLength(text));
/** Digits, flags and commands: as many bytes as characters. */
const asciiBulk = (text: string): string => bulkOf(text, text.length);

const groupByChannel = (publishes: readonly PendingPublish[]): PendingPublish[][] => {
  const groups = new Map<string, PendingPublish[]>();
  for (const publish of publishes) {
    const group = groups.get(publish.request.channel);
    if (group === undefined) groups.set(publish.request.channel, [publish]);
    else group.push(publish);
  }
  return [...groups.values()];
};

const DOLLAR = 36;
const ZERO = 48;
const CR = 13;
const LF = 10;

/** Writes `$<length>\r\n` and returns the position behind it: digit by digit, because a call into the engine costs more. */
const writeBulkHead = (frame: Buffer, at: number, length: number): number => {
  let digits = 1;
  for (let rest = length; rest >= 10; rest = Math.floor(rest / 10)) digits += 1;
  frame[at] = DOLLAR;
  let rest = length;
  for (let place = at + digits; place > at; place -= 1) {
    frame[place] = ZERO + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  const end = at + digits + 1;
  frame[end] = CR;
  frame[end + 1] = LF;
  return end + 2;
};

/**
 * Keys and arguments as in the header of publish.lua. The newest request of a channel decides its history bounds. A channel
 * without numbering gets `epochCandidate`.
 */
export const encodePublishCall = (
  publishes: readonly PendingPublish[],
  settings: CallSettings,
  epochCandidate: string,
): PublishCall => {
  const groups = groupByChannel(publishes);
  let keys = '';
  let seenKeys = '';
  let seenCount = 0;
  let plans = '';
  let rounds = '';
  let binaryBytes = 0;
  // Channels of a namespace share their bounds.
  let bounds: HistoryBounds | undefined;
  let boundsText = '';
  for (const group of groups) {
    const { channel, history } = group.at(-1)!.request;
    const names = settings.keySpace.of(channel);
    rounds = names.rounds;
    // The three names of a channel differ in one letter.
    const nameBytes = Buffer.byteLength(names.meta);
    keys += bulkOf(names.meta, nameBytes) + bulkOf(names.stream, nameBytes);
    if (history !== bounds) {
      bounds = history;
      boundsText = asciiBulk(String(history.size)) + asciiBulk(String(history.ttlMs));
    }
    let flags = '';
    for (const publish of group) {
      const { messageId } = publish.request;
      if (messageId === undefined) flags += '0';
      else {
        flags += '1';
        seenKeys += bulk(names.seenPrefix + messageId);
        seenCount += 1;
      }
      // Length line and line ends of a record: at most 16 bytes around it.
      binaryBytes += bytesOf(publish) + 16;
    }
    plans += bulkOf(names.topic, nameBytes) + boundsText + asciiBulk(flags);
  }

  const keyCount = groups.length * 2 + seenCount + 1;
  const parts = 3 + keyCount + 5 + groups.length * 4 + publishes.length;
  const text =
    `*${parts}\r\n$7\r\nEVALSHA\r\n$40\r\n${settings.sha}\r\n${bulk(String(keyCount))}${keys}${seenKeys}${bulk(rounds)}` +
    `${bulk(settings.keySpace.notifyCommand)}${bulk(epochCandidate)}${bulk(String(settings.numberingTtlMs))}` +
    `${bulk(String(settings.idempotencyWindowMs))}${bulk(String(groups.length))}${plans}`;
  const frame = Buffer.allocUnsafe(Buffer.byteLength(text) + binaryBytes);
  let at = frame.write(text, 'utf8');
  for (const group of groups) {
    for (const publish of group) {
      const { request, keyBytes } = publish;
      at = writeBulkHead(frame, at, bytesOf(publish));
      at = writeRecord(frame, at, keyBytes, request.key, request.timeMs, request.body);
      frame[at] = CR;
      frame[at + 1] = LF;
      at += 2;
    }
  }
  return { groups, frame: frame.subarray(0, at) };
};

/** Whether the line of a channel is an answer with positions; otherwise nothing of it was appended. */
export const hasPositions = (line: string): boolean => !line.startsWith('!') && !line.startsWith('?');

interface Line {
  readonly epoch: string;
  /** Newest offset of the channel after the call. */
  readonly last: number;
  /** By index in the group; undefined when there is none. */
  readonly duplicates: ReadonlyMap<number, PublishResult> | undefined;
}

const readLine = (line: string): Line => {
  const space = line.indexOf(' ');
  const last = Number(line.slice(0, space));
  const next = line.indexOf(' ', space + 1);
  if (next === -1) return { epoch: line.slice(space + 1), last, duplicates: undefined };
  const duplicates = new Map<number, PublishResult>();
  const words = line.slice(next + 1).split(' ');
  for (let i = 0; i < words.length; i += 3) {
    duplicates.set(Number(words[i]), { offset: Number(words[i + 1]), epoch: words[i + 2]!, duplicate: true });
  }
  return { epoch: line.slice(space + 1, next), last, duplicates };
};

/**
 * Settles a channel's publications from its line of the result. Returns the error when nothing was appended.
 * With `shortfall` they are in the log and refused all the same: too few replicas have them.
 */
export const settleGroup = (
  group: readonly PendingPublish[],
  line: string,
  shortfall: Error | undefined,
  onAppended: (request: PublishRequest, position: ChannelPosition) => void,
): Error | undefined => {
  if (line.startsWith('!')) return new Error(line.slice(1));
  const { epoch, last, duplicates } = readLine(line);
  let offset = last - (group.length - (duplicates?.size ?? 0));
  for (let i = 0; i < group.length; i += 1) {
    const publish = group[i]!;
    const duplicate = duplicates?.get(i);
    const result = duplicate ?? { epoch, offset: (offset += 1), duplicate: false };
    if (duplicate === undefined) onAppended(publish.request, result);
    if (shortfall === undefined) publish.resolve(result);
    else {
      const written = { epoch: result.epoch, offset: result.offset };
      publish.reject(new BrokerUnavailableError(TOO_FEW_REPLICAS, { cause: shortfall, written }));
    }
  }
  return undefined;
};
