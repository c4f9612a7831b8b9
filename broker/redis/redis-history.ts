// Reads of channel logs and positions, on a connection of their own so that a long page delays nobody's publication.
import type { ChannelPosition } from '../broker.ts';
import type { BrokerClock } from '../clock.ts';
import type { History, HistoryPage, HistoryQuery } from '../history.ts';
import type { Publication } from '../publication.ts';
import type { KeySpace } from './keys.ts';
import type { Link } from './link.ts';
import { BrokerUnavailableError } from '../broker.ts';
import { driverError } from './driver-error.ts';
import { groupByCallTarget } from './keys.ts';
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
}

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
  const historyScript = loadScript('history.lua');
  const positionsScript = loadScript('positions.lua');

  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    if (!link.isUp()) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await work();
    } catch (error) {
      throw new BrokerUnavailableError('the history could not be read', { cause: driverError(error) });
    }
  };

  const readPage = async ({ channel, start, limit, reverse, bounds }: HistoryQuery): Promise<HistoryPage> => {
    const { meta, stream } = keySpace.of(channel);
    const startNumber = start.kind === 'after' ? start.offset : start.kind === 'last' ? start.count : 0;
    const reply = await runScript(
      link.redis,
      historyScript,
      [meta, stream],
      [
        ...[options.randomId(), options.unpublishedTtlMs, start.kind, startNumber, limit, reverse ? '1' : '0'],
        ...[bounds.size, options.clock.nowMs() - bounds.ttlMs, MAX_PAGE_BYTES],
      ],
    );
    return decodePage(reply as Buffer[], reverse);
  };

  const readPositions = async (channels: readonly string[]): Promise<ChannelPosition[]> => {
    const lines = await runScript(
      link.redis,
      positionsScript,
      channels.map((channel) => keySpace.of(channel).meta),
      [options.randomId(), options.unpublishedTtlMs],
    );
    return (lines as Buffer[]).map((line) => parsePosition(line.toString()));
  };

  return {
    read: (query) => run(() => readPage(query)),
    positions: (channels) =>
      run(async () => {
        const calls: Promise<ChannelPosition[]>[] = [];
        for (let at = 0; at < channels.length; at += POSITIONS_PER_CALL) {
          for (const group of groupByCallTarget(channels.slice(at, at + POSITIONS_PER_CALL))) {
            calls.push(readPositions(group));
          }
        }
        return (await Promise.all(calls)).flat();
      }),
  };
};
