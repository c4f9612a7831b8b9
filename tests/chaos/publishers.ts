// Publishes over HTTP without pause, each message again under its messageId until a node has acknowledged it.
import { setTimeout as pause } from 'node:timers/promises';
import { requestJson } from '../support/index.ts';
import type { Acknowledged, Position } from './recorder.ts';

export interface PublishersOptions {
  readonly channels: readonly string[];
  /** Publishers per channel, each with one publication at a time. */
  readonly perChannel: number;
  /** From an answer to the next publication. */
  readonly everyMs: number;
  /** Where to publish: a node, taken in turn. */
  readonly doors: readonly string[];
  readonly apiKey: string;
}

export interface ChannelTraffic {
  readonly acknowledged: Acknowledged[];
  readonly attempted: Set<string>;
}

export interface Publishers {
  traffic(channel: string): ChannelTraffic;
  /** Tries that got no answer or an error. */
  retries(): number;
  /** Resolves when the last publication begun is acknowledged. */
  stop(): Promise<void>;
}

const TRY_TIMEOUT_MS = 2_000;
const RETRY_PAUSE_MS = 100;
/** Part of the publications that are sent once more after they were acknowledged, as if the answer had been lost. */
const REPEAT_EVERY = 10;

export const startPublishers = (options: PublishersOptions): Publishers => {
  const { channels, doors, apiKey } = options;
  const byChannel = new Map<string, ChannelTraffic>(
    channels.map((channel) => [channel, { acknowledged: [], attempted: new Set() }]),
  );
  let isStopping = false;
  let retries = 0;
  let turn = 0;

  const publishOnce = async (channel: string, messageId: string): Promise<Position | undefined> => {
    const door = doors[turn++ % doors.length] ?? '';
    const body = { channel, data: { messageId }, messageId };
    const answer = await requestJson(`${door}/v1/publish`, { apiKey, body, timeoutMs: TRY_TIMEOUT_MS }).catch(
      () => undefined,
    );
    return answer?.status === 200 ? (answer.body as Position) : undefined;
  };
  const run = async (
    channel: string,
    { acknowledged, attempted }: ChannelTraffic,
    publisher: number,
  ): Promise<void> => {
    for (let number = 1; !isStopping; number += 1) {
      const messageId = `${channel}-${publisher}-${number}`;
      attempted.add(messageId);
      for (let left = number % REPEAT_EVERY === 0 ? 2 : 1; left > 0; ) {
        const position = await publishOnce(channel, messageId);
        if (position === undefined) {
          retries += 1;
          await pause(RETRY_PAUSE_MS);
        } else {
          acknowledged.push({ messageId, epoch: position.epoch, offset: position.offset });
          left -= 1;
        }
      }
      await pause(options.everyMs);
    }
  };
  const running = [...byChannel].flatMap(([channel, traffic]) =>
    Array.from({ length: options.perChannel }, (_, publisher) => run(channel, traffic, publisher)),
  );
  return {
    traffic: (channel) => byChannel.get(channel) ?? { acknowledged: [], attempted: new Set() },
    retries: () => retries,
    stop: async () => {
      isStopping = true;
      await Promise.all(running);
    },
  };
};
