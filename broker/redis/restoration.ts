// Gives a server what this node knows beyond its numberings, after it took over with a copy that may miss the newest
// publications. What is right to append is decided by restore.lua; every node may do this, in any order.
import type { Redis } from 'ioredis';
import { BrokerUnavailableError, type ChannelTail } from '../broker.ts';
import type { KeySpace } from './keys.ts';
import type { OwnPublication, OwnTail } from './own-tail.ts';
import { keyBytesOf, recordBytes, writeRecord } from './record.ts';
import { loadScript, runScript } from './script.ts';
import type { Shard } from './shard.ts';

/** Channels looked at in one round trip, and channels restored in one. */
const CHANNELS_PER_LOOK = 1_000;
const CHANNELS_PER_CALL = 64;

/** A numbering that `writer` wrote last was found on `server`; both are replication ids. */
export interface Round {
  /** The partition, or the one that stands for all of a server that stands alone (`KeySpace.scopeOf`). */
  readonly scope: number;
  readonly writer: string;
  readonly server: string;
}

export interface RestorationOptions {
  readonly keySpace: KeySpace;
  readonly numberingTtlMs: number;
  readonly idempotencyWindowMs: number;
  readonly shardOf: (partition: number) => Shard | undefined;
  readonly tails: () => Iterable<ChannelTail>;
  readonly ownTail: Pick<OwnTail, 'all'>;
}

/** What this node knows of one life of a channel. */
interface Knowledge {
  readonly channel: string;
  readonly epoch: string;
  head: number;
  readonly publications: Map<number, { readonly messageId: string; readonly record: () => Buffer }>;
}

interface Content {
  readonly key?: string | undefined;
  readonly timeMs: number;
  readonly body: Buffer;
}

const recordOf = ({ key, timeMs, body }: Content): Buffer => {
  const keyBytes = keyBytesOf(key);
  const record = Buffer.allocUnsafe(recordBytes(keyBytes, body.length));
  writeRecord(record, 0, keyBytes, key, timeMs, body);
  return record;
};

const gather = (tails: Iterable<ChannelTail>, own: readonly OwnPublication[]): Knowledge[] => {
  const byLife = new Map<string, Knowledge>();
  const lifeOf = (channel: string, epoch: string): Knowledge => {
    // Epochs have no spaces.
    const name = `${epoch} ${channel}`;
    let life = byLife.get(name);
    if (life === undefined) byLife.set(name, (life = { channel, epoch, head: 0, publications: new Map() }));
    return life;
  };
  for (const { channel, epoch, offset, publications } of tails) {
    const life = lifeOf(channel, epoch);
    life.head = offset;
    for (const publication of publications) {
      life.publications.set(publication.offset, { messageId: '', record: () => recordOf(publication) });
    }
  }
  const newest = new Map(own.map(({ channel, epoch }) => [channel, epoch]));
  for (const publication of own) {
    const { channel, epoch, offset, messageId = '' } = publication;
    if (newest.get(channel) !== epoch) continue;
    const life = lifeOf(channel, epoch);
    life.head = Math.max(life.head, offset);
    life.publications.set(offset, { messageId, record: () => publication.record });
  }
  return [...byLife.values()];
};

const hasMessageIds = ({ publications }: Knowledge): boolean =>
  [...publications.values()].some(({ messageId }) => messageId !== '');

const pages = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));

/** Rejects unless all this node knows in the scope is on the server of the round. */
export const createRestoration = (options: RestorationOptions): ((round: Round) => Promise<void>) => {
  const { keySpace } = options;
  const script = loadScript('numbering.lua', 'restore.lua');

  const restoreChannel = async (redis: Redis, round: Round, life: Knowledge, from: number): Promise<void> => {
    const keys = keySpace.of(life.channel);
    const known = [...life.publications]
      .filter(([offset, { messageId }]) => offset > from || messageId !== '')
      .sort(([a], [b]) => a - b);
    await runScript(
      redis,
      script,
      [keys.meta, keys.stream, keys.held, keys.rounds],
      [
        ...[round.server, round.writer, keySpace.notifyCommand, keys.topic, options.numberingTtlMs],
        ...[keys.seenPrefix, options.idempotencyWindowMs, life.epoch, life.head],
        ...known.flatMap(([offset, { messageId, record }]) => [offset, messageId, offset > from ? record() : '']),
      ],
    );
  };

  return async (round) => {
    const shard = options.shardOf(round.scope);
    if (shard?.commands.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    const { redis } = shard.commands;
    // Before anything is read: another server would show a numbering that misses nothing.
    if (!(await redis.info('replication')).includes(`master_replid:${round.server}`)) {
      throw new BrokerUnavailableError('connected to another server than the one that took over');
    }
    const lives = gather(options.tails(), options.ownTail.all()).filter(
      ({ channel }) => keySpace.scopeOf(keySpace.of(channel).partition) === round.scope,
    );
    const behind: { readonly life: Knowledge; readonly from: number }[] = [];
    for (const page of pages(lives, CHANNELS_PER_LOOK)) {
      const states = await redis.mget(page.map(({ channel }) => keySpace.of(channel).meta));
      page.forEach((life, i) => {
        const [offset, , epoch, writer] = (states[i] ?? '').split(' ');
        // What is there was replicated, or restored by a node that does not know the message ids of others.
        const isComplete = epoch === life.epoch && Number(offset) >= life.head && !hasMessageIds(life);
        if (writer === round.server || isComplete) return;
        behind.push({ life, from: epoch === life.epoch ? Number(offset) : 0 });
      });
    }
    for (const page of pages(behind, CHANNELS_PER_CALL)) {
      await Promise.all(page.map(({ life, from }) => restoreChannel(redis, round, life, from)));
    }
  };
};
