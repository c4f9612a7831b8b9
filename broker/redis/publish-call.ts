// One call of publish.lua: which publications it carries, its bytes on the wire, and what its answer means.
//
// The command is encoded here, as one buffer, because ioredis would build it from some ten strings per publication.
import { BrokerUnavailableError, type ChannelPosition, type PublishResult } from '../broker.ts';
import type { PublishRequest } from '../publication.ts';
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
  /** A key of the call, for whoever routes it. */
  readonly routingKey: string;
}

export interface CallSettings {
  readonly sha: string;
  readonly keySpace: KeySpace;
  readonly epochCandidate: string;
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

const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

const groupByChannel = (publishes: readonly PendingPublish[]): PendingPublish[][] => {
  const groups = new Map<string, PendingPublish[]>();
  for (const publish of publishes) {
    const group = groups.get(publish.request.channel);
    if (group === undefined) groups.set(publish.request.channel, [publish]);
    else group.push(publish);
  }
  return [...groups.values()];
};

/** Keys and arguments as in the header of publish.lua. The newest request of a channel decides its history bounds. */
export const encodePublishCall = (publishes: readonly PendingPublish[], settings: CallSettings): PublishCall => {
  const groups = groupByChannel(publishes);
  let keys = '';
  let seenKeys = '';
  let seenCount = 0;
  let plans = '';
  let routingKey = '';
  let rounds = '';
  let binaryBytes = 0;
  for (const group of groups) {
    const { channel, history } = group.at(-1)!.request;
    const names = settings.keySpace.of(channel);
    routingKey ||= names.meta;
    rounds = names.rounds;
    keys += bulk(names.meta) + bulk(names.stream);
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
    plans += bulk(names.topic) + bulk(String(history.size)) + bulk(String(history.ttlMs)) + bulk(flags);
  }

  const keyCount = groups.length * 2 + seenCount + 1;
  const parts = 3 + keyCount + 5 + groups.length * 4 + publishes.length;
  const text =
    `*${parts}\r\n$7\r\nEVALSHA\r\n$40\r\n${settings.sha}\r\n${bulk(String(keyCount))}${keys}${seenKeys}${bulk(rounds)}` +
    `${bulk(settings.keySpace.notifyCommand)}${bulk(settings.epochCandidate)}${bulk(String(settings.numberingTtlMs))}` +
    `${bulk(String(settings.idempotencyWindowMs))}${bulk(String(groups.length))}${plans}`;
  const frame = Buffer.allocUnsafe(Buffer.byteLength(text) + binaryBytes);
  let at = frame.write(text, 'utf8');
  for (const group of groups) {
    for (const publish of group) {
      const { request, keyBytes } = publish;
      at += frame.write(`$${bytesOf(publish)}\r\n`, at, 'latin1');
      at = writeRecord(frame, at, keyBytes, request.key, request.timeMs, request.body);
      frame[at] = 13;
      frame[at + 1] = 10;
      at += 2;
    }
  }
  return { groups, frame: frame.subarray(0, at), routingKey };
};

/** Whether the line of a channel is an answer with positions; otherwise nothing of it was appended. */
export const hasPositions = (line: string): boolean => !line.startsWith('!') && !line.startsWith('?');

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
  const words = line.split(' ');
  const epoch = words[1]!;
  const duplicates = new Map<number, PublishResult>();
  for (let i = 2; i < words.length; i += 3) {
    duplicates.set(Number(words[i]), { offset: Number(words[i + 1]), epoch: words[i + 2]!, duplicate: true });
  }
  let offset = Number(words[0]) - (group.length - duplicates.size);
  for (let i = 0; i < group.length; i += 1) {
    const publish = group[i]!;
    const duplicate = duplicates.get(i);
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
