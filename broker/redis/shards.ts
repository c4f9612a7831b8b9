// The shards that own the partitions by now, and the subscriptions that move with a partition from one to another.
import { BrokerUnavailableError } from '../broker.ts';
import { PARTITIONS } from './partition.ts';
import type { Shard } from './shard.ts';
import { createSubscriber, type Subscriber, type SubscriberEntry } from './subscriber.ts';
import type { Owners } from './topology.ts';

export interface ShardsOptions {
  createShard(url: string): Shard;
  /** Partitions with subscriptions changed hands: messages may have been missed. */
  onMoved(reason: string): void;
  onChange(): void;
}

export interface Shards {
  all(): readonly Shard[];
  of(partition: number): Shard | undefined;
  /** Of every server that owns partitions the lowest one. */
  firstPartitions(): number[];
  /** Also while nobody owns the partition: what was subscribed stays so. */
  subscriberOf(partition: number): Subscriber;
  /** Every partition has an owner. */
  isComplete(): boolean;
  apply(owners: Owners): void;
  close(reason: string): void;
}

const MOVED = 'partitions moved to another server';

export const createShards = (options: ShardsOptions): Shards => {
  const byUrl = new Map<string, Shard>();
  let current: Owners = new Array<undefined>(PARTITIONS).fill(undefined);
  let started = false;
  // Asked for every client that connects.
  let complete = false;
  // Keeps the subscriptions of partitions without an owner; never connected.
  const limbo = createSubscriber({
    redis: () => {
      throw new BrokerUnavailableError('no server owns the partition');
    },
    isUp: () => false,
    sharded: true,
    onLost: () => undefined,
    onSettled: () => undefined,
    onError: () => undefined,
  });

  const of = (partition: number): Shard | undefined => {
    const url = current[partition];
    return url === undefined ? undefined : byUrl.get(url);
  };
  const subscriberOf = (partition: number): Subscriber => of(partition)?.subscriber ?? limbo;

  /** Partitions whose owner is not the one in `owners`, by who has their subscriptions now. */
  const lostPartitions = (owners: Owners): Map<Subscriber, Set<number>> => {
    const lost = new Map<Subscriber, Set<number>>();
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      if (owners[partition] === current[partition]) continue;
      const from = subscriberOf(partition);
      lost.set(from, (lost.get(from) ?? new Set()).add(partition));
    }
    return lost;
  };

  const handOver = (entries: readonly SubscriberEntry[]): void => {
    const byTarget = new Map<Subscriber, SubscriberEntry[]>();
    for (const entry of entries) {
      const target = subscriberOf(entry.partition);
      const group = byTarget.get(target);
      if (group === undefined) byTarget.set(target, [entry]);
      else group.push(entry);
    }
    for (const [target, group] of byTarget) target.adopt(group);
  };

  return {
    all: () => [...byUrl.values()],
    of,
    subscriberOf,
    firstPartitions: () => [...new Set(current)].filter((url) => url !== undefined).map((url) => current.indexOf(url)),
    isComplete: () => complete,
    apply(owners) {
      const moved: SubscriberEntry[] = [];
      const losers = new Set<Subscriber>();
      for (const [from, partitions] of lostPartitions(owners)) {
        const entries = from.take(partitions, MOVED);
        if (entries.length > 0) losers.add(from);
        moved.push(...entries);
      }
      const created: Shard[] = [];
      for (const url of new Set(owners)) {
        if (url === undefined || byUrl.has(url)) continue;
        const shard = options.createShard(url);
        byUrl.set(url, shard);
        created.push(shard);
      }
      current = owners;
      complete = owners.every((url) => url !== undefined);
      if (started && moved.length > 0) options.onMoved(MOVED);
      started = true;
      handOver(moved);
      for (const shard of [...byUrl.values()]) {
        if (!owners.includes(shard.url)) {
          byUrl.delete(shard.url);
          shard.close(MOVED);
        } else if (losers.has(shard.subscriber)) {
          // The server ends those subscriptions by itself, which the client cannot tell from answers (see link.ts).
          shard.subscriberLink.reset(MOVED);
        }
      }
      for (const shard of created) shard.connect();
      options.onChange();
    },
    close(reason) {
      for (const shard of byUrl.values()) shard.close(reason);
      byUrl.clear();
      limbo.close(reason);
    },
  };
};
