// Reads of channel logs and positions, on a connection of their own so that a long page delays nobody's publication.
import type { ChannelPosition } from '../broker.ts';
import type { BrokerClock } from '../clock.ts';
import type { History, HistoryPage, HistoryQuery } from '../history.ts';
import type { Publication } from '../publication.ts';
import type { KeySpace } from './keys.ts';
import type { Link } from './link.ts';
import { BrokerUnavailableError } from '../broker.ts';
import { driverError } from './driver-error.ts';
import { decodeRecord } from './record.ts';
import { loadScript, runScript } from './script.ts';

/** Records after which a page ends early, with `more`: bounds what one read holds in both processes. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
/** Below what Lua can unpack, and short enough not to hold the server. */
const POSITIONS_PER_CALL = 1_000;

export interface RedisHistoryOptions {
  readonly link: Link;
  readonly keySpace: KeySpace;
  readonly clock: BrokerClock;
  readonly randomId: () => string;
  /** Life of a numbering that a read creates. */
  readonly unpublishedTtlMs: number;
  /** Resolves when the nodes have decided what a script asked for with an answer that begins with "?". */
  decide(channel: string, answer: string): Promise<void>;
  onFailure(error: unknown): void;
}

/** Several answers to one question: numberings of a channel's group can have been written by several servers. */
const MAX_DECISIONS = 8;

const parsePosition = (line: string): ChannelPosition => {
  const space = line.indexOf(' ');
  return { offset: Number(line.slice(0, space)), epoch: line.slice(space + 1) };
};

const decodePage = (reply: readonly Buffer[], descending: boolean): HistoryPage => {
  const first = Number(reply[2]!.toString());
  const publications: Publication[] = [];
  for (let i = 4; i < reply.length; i += 1) {
    publications.push(decodeRecord(reply[i]!, descending ? first - (i - 4) : first + (i - 4)));
  }
  return {
    position: { epoch: reply[0]!.toString(), offset: Number(reply[1]!.toString()) },
    publications,
    more: reply[3]!.toString() === '1',
  };
};

export const createRedisHistory = (options: RedisHistoryOptions): History => {
  const { link, keySpace } = options;
  const historyScript = loadScript('numbering.lua', 'history.lua');
  const positionsScript = loadScript('numbering.lua', 'positions.lua');

  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    if (!link.isUp()) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await work();
    } catch (error) {
      options.onFailure(error);
      throw new BrokerUnavailableError('the history could not be read', { cause: driverError(error) });
    }
  };

  const readPage = async ({ channel, start, limit, maxBytes, reverse, bounds }: HistoryQuery): Promise<HistoryPage> => {
    const { meta, stream, rounds } = keySpace.of(channel);
    const startNumber = start.kind === 'after' ? start.offset : start.kind === 'last' ? start.count : 0;
    for (let decisions = 0; ; decisions += 1) {
      const reply = (await runScript(
        link.redis,
        historyScript,
        [meta, stream, rounds],
        [
          ...[options.randomId(), options.unpublishedTtlMs, start.kind, startNumber, limit, reverse ? '1' : '0'],
          ...[bounds.size, options.clock.nowMs() - bounds.ttlMs, Math.min(maxBytes ?? Infinity, MAX_PAGE_BYTES)],
        ],
      )) as Buffer[];
      if (reply.length > 1) return decodePage(reply, reverse);
      if (decisions === MAX_DECISIONS) throw new Error('no decision after a failover');
      await options.decide(channel, reply[0]!.toString());
    }
  };

  const readPositions = async (channels: readonly string[]): Promise<ChannelPosition[]> => {
    const keys = channels.map((channel) => keySpace.of(channel).meta);
    const { rounds } = keySpace.of(channels[0]!);
    for (let decisions = 0; ; decisions += 1) {
      const args = [options.randomId(), options.unpublishedTtlMs];
      const reply = (await runScript(link.redis, positionsScript, [...keys, rounds], args)) as Buffer[];
      const lines = reply.map((line) => line.toString());
      // By answer: one decision serves all channels the same server wrote.
      const open = new Map(lines.flatMap((line, i) => (line.startsWith('?') ? [[line, channels[i]!] as const] : [])));
      if (open.size === 0) return lines.map(parsePosition);
      if (decisions === MAX_DECISIONS) throw new Error('no decision after a failover');
      await Promise.all([...open].map(([answer, channel]) => options.decide(channel, answer)));
    }
  };

  return {
    read: (query) => run(() => readPage(query)),
    positions: (channels) =>
      run(async () => {
        const positions = new Array<ChannelPosition>(channels.length);
        const readInto = async (indexes: readonly number[]): Promise<void> => {
          const read = await readPositions(indexes.map((index) => channels[index]!));
          for (const [i, index] of indexes.entries()) positions[index] = read[i]!;
        };
        const calls: Promise<void>[] = [];
        for (const group of keySpace.groupByCall([...channels.keys()], (index) => channels[index]!)) {
          for (let at = 0; at < group.length; at += POSITIONS_PER_CALL) {
            calls.push(readInto(group.slice(at, at + POSITIONS_PER_CALL)));
          }
        }
        await Promise.all(calls);
        return positions;
      }),
  };
};
