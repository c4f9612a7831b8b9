// One server that takes writes, with the links to it: commands (publish, leases), subscriber, history reads.
//
// Three connections, so that none waits for another. Publications that wait for replicas hold their connection up, so
// then they have a fourth one.
import type { BrokerClock } from '../clock.ts';
import type { History } from '../history.ts';
import type { KeySpace } from './keys.ts';
import type { Redis } from 'ioredis';
import { createLink, type Link } from './link.ts';
import { createEphemeralPublisher, type EphemeralPublisher } from './ephemeral-publisher.ts';
import type { OwnTail } from './own-tail.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { createRedisHistory } from './redis-history.ts';
import { createReplicaWait } from './replicas.ts';
import type { ReconnectSchedule } from './reconnect-schedule.ts';
import { createSubscriber, type Subscriber } from './subscriber.ts';

export interface ShardSettings {
  readonly keySpace: KeySpace;
  readonly clock: BrokerClock;
  readonly randomId: () => string;
  readonly publishTimeoutMs: number;
  /** Replicas that must have a publication before it is acknowledged; 0 waits for none. */
  readonly minReplicas: number;
  readonly ownTail: OwnTail;
  readonly numberingTtlMs: number;
  readonly unpublishedTtlMs: number;
  readonly idempotencyWindowMs: number;
  readonly reconnectDelayMs: ReconnectSchedule;
  /** Refuse a server that is a replica, as soon as the connection is there. */
  readonly mastersOnly: boolean;
}

export interface ShardEvents {
  /** A link came up or was lost, or the last of the subscriptions that were taken over is confirmed. */
  onChange(): void;
  onSubscriberDown(reason: string): void;
  /** The server refused or was lost: it may not be the owner of its partitions any more. */
  onDoubt(): void;
  /** See `Rounds.decide`. */
  decide(channel: string, answer: string): Promise<void>;
  onError(error: Error, stage: string): void;
}

export interface Shard {
  readonly url: string;
  readonly publisher: Publisher;
  readonly ephemeral: EphemeralPublisher;
  readonly history: History;
  readonly subscriber: Subscriber;
  readonly commands: Link;
  /** The one for commands, unless publications have their own. */
  readonly publishLink: Link;
  readonly subscriberLink: Link;
  readonly historyLink: Link;
  /** Why the first link that is down was lost. */
  downReason(): string | undefined;
  connect(): void;
  close(reason: string): void;
}

const refuseReplica = async (redis: Redis): Promise<void> => {
  const [role] = (await redis.call('ROLE').catch((error: unknown) => {
    // A user without the right to ask finds out by READONLY or MOVED.
    if (error instanceof Error && error.message.startsWith('NOPERM')) return ['master'];
    throw error;
  })) as [string];
  if (role !== 'master') throw new Error('connected to a replica');
};

export const createShard = (url: string, settings: ShardSettings, events: ShardEvents): Shard => {
  const { keySpace, clock, randomId, publishTimeoutMs, minReplicas, numberingTtlMs, reconnectDelayMs, mastersOnly } =
    settings;
  const { onError } = events;
  const downReasons = new Map<Link, string>();

  const prepared = async (redis: Redis, prepare: () => Promise<void>): Promise<void> => {
    try {
      if (mastersOnly) await refuseReplica(redis);
      await prepare();
    } catch (error) {
      events.onDoubt();
      throw error;
    }
  };

  const createShardLink = (
    name: string,
    prepare: (redis: Redis) => Promise<void>,
    onDown: (reason: string) => void,
  ) => {
    const link = createLink({
      url,
      name,
      reconnectDelayMs,
      prepare: (redis) => prepared(redis, () => prepare(redis)),
      onUp() {
        if (link === subscriberLink) subscriber.onUp();
        events.onChange();
      },
      onDown(reason) {
        downReasons.set(link, reason);
        onDown(reason);
        events.onDoubt();
        events.onChange();
      },
      onError,
    });
    return link;
  };

  const publisher = createPublisher({
    keySpace,
    randomId,
    publishTimeoutMs,
    replicated: minReplicas > 0 ? createReplicaWait(minReplicas, publishTimeoutMs) : undefined,
    ownTail: settings.ownTail,
    numberingTtlMs,
    idempotencyWindowMs: settings.idempotencyWindowMs,
    redis: () => publishLink.redis,
    isUp: () => publishLink.isUp(),
    reset: (reason) => publishLink.reset(reason),
    decide: events.decide,
    onFailure: events.onDoubt,
    onError,
  });
  const ephemeral = createEphemeralPublisher({
    keySpace,
    publishTimeoutMs: settings.publishTimeoutMs,
    redis: () => commands.redis,
    isUp: () => commands.isUp(),
  });
  const subscriber = createSubscriber({
    redis: () => subscriberLink.redis,
    isUp: () => subscriberLink.isUp(),
    sharded: keySpace.reach === 'slot',
    onLost(reason) {
      events.onDoubt();
      subscriberLink.reset(reason);
    },
    onSettled: events.onChange,
    onError,
  });
  const publishLink: Link = createShardLink(
    minReplicas > 0 ? 'publish' : 'commands',
    (redis) => publisher.prepare(redis),
    (reason) => publisher.abandon(reason),
  );
  const commands =
    minReplicas > 0
      ? createShardLink(
          'commands',
          () => Promise.resolve(),
          () => undefined,
        )
      : publishLink;
  const subscriberLink: Link = createShardLink(
    'subscriber',
    (redis) => subscriber.prepare(redis),
    (reason) => {
      subscriber.onDown(reason);
      events.onSubscriberDown(reason);
    },
  );
  const historyLink: Link = createShardLink(
    'history',
    () => Promise.resolve(),
    () => undefined,
  );
  subscriber.listen(subscriberLink.redis);
  const history = createRedisHistory({
    link: historyLink,
    keySpace,
    clock,
    randomId,
    unpublishedTtlMs: settings.unpublishedTtlMs,
    decide: events.decide,
    onFailure: events.onDoubt,
  });
  const links = new Set([subscriberLink, historyLink, commands, publishLink]);

  return {
    url,
    publisher,
    ephemeral,
    history,
    subscriber,
    commands,
    publishLink,
    subscriberLink,
    historyLink,
    downReason() {
      const lost = [...links].find((link) => !link.isUp());
      return lost === undefined ? undefined : downReasons.get(lost);
    },
    connect() {
      for (const link of links) link.connect();
    },
    close(reason) {
      for (const link of links) link.close();
      publisher.abandon(reason);
      subscriber.close(reason);
    },
  };
};
