// The Redis driver: publications through one script per tick, deliveries over pub/sub, history in streams.
//
// A server that takes writes is a shard with three links (shard.ts); a cluster has several, the others one (shards.ts).
// While the subscriber is not connected, `subscribe` of a new channel is refused at once; channels subscribed before are
// subscribed anew before `onRestored`, which also waits for the history links: they are what the receiver heals with.
import type { Broker, BrokerEvents, BrokerHealth } from '../broker.ts';
import { BrokerUnavailableError } from '../broker.ts';
import {
  DEFAULT_LEASE_MS,
  IDEMPOTENCY_WINDOW_MS,
  NUMBERING_TTL_MS,
  randomEpoch,
  systemClock,
  UNPUBLISHED_NUMBERING_TTL_MS,
  type BrokerClock,
} from '../clock.ts';
import { createHealthReports } from './health-reports.ts';
import { createHistoryRouter } from './history-router.ts';
import { createKeySpace } from './keys.ts';
import { createReconnectSchedule } from './reconnect-schedule.ts';
import { createOwnTail } from './own-tail.ts';
import { createProbeChannels } from './probe-channels.ts';
import { decodeEphemeral, decodeRun, isEphemeral } from './record.ts';
import { createRedisControl } from './redis-control.ts';
import { createRedisLifecycle } from './redis-lifecycle.ts';
import { createRedisLimits } from './redis-limits.ts';
import { createRedisRevocations } from './redis-revocations.ts';
import { createRedisSessions } from './redis-sessions.ts';
import { parseRedisUrl } from './redis-url.ts';
import { createRestoration } from './restoration.ts';
import { createRounds } from './rounds.ts';
import { createShard } from './shard.ts';
import { createShards } from './shards.ts';
import { createTopology } from './topologies.ts';

export { RedisUrlError } from './redis-url.ts';

export interface RedisBrokerOptions {
  /** `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`. */
  readonly url: string;
  /** In front of every key and topic; clusters with different prefixes share a Redis without meeting. */
  readonly prefix: string;
  /** Unique name of the node in the cluster. */
  readonly node: string;
  readonly clock?: BrokerClock;
  /** Names epochs and instances; must not repeat, ASCII without spaces. */
  readonly randomId?: () => string;
  readonly publishTimeoutMs?: number;
  /** Replicas of the server that must have a publication before it is acknowledged; 0 (when absent) waits for none. */
  readonly minReplicas?: number;
  readonly leaseMs?: number;
  readonly idempotencyWindowMs?: number;
  /** How long a channel keeps its numbering after its last publication, at least, and after its history, ms. */
  readonly numberingTtlMs?: number;
  /** How long nodes wait for one another to restore what a server that took over misses, ms. */
  readonly restoreTimeoutMs?: number;
  /** How long a change within an outage lasts before it is told, ms. */
  readonly healthSettleMs?: number;
}

const DEFAULT_PUBLISH_TIMEOUT_MS = 2_000;
const DEFAULT_HEALTH_SETTLE_MS = 1_000;
const DEFAULT_RESTORE_TIMEOUT_MS = 1_500;

/** Throws `RedisUrlError` for URLs it cannot serve. */
export const createRedisBroker = (options: RedisBrokerOptions): Broker => {
  const target = parseRedisUrl(options.url);
  const clock = options.clock ?? systemClock;
  const randomId = options.randomId ?? randomEpoch;
  const numberingTtlMs = options.numberingTtlMs ?? NUMBERING_TTL_MS;
  const keySpace = createKeySpace(options.prefix, target.kind === 'cluster' ? 'slot' : 'server');
  const reconnectDelayMs = createReconnectSchedule();

  let events: BrokerEvents | undefined;
  let closed = false;
  // From the loss of a subscriber link, or the move of a partition, until `onRestored`.
  let interrupted = false;
  let lastReason = 'not connected yet';
  let start: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  const onError = (error: Error, stage: string): void => {
    if (!closed) events?.onError(error, { stage });
  };

  const subscribersUp = (): boolean =>
    shards.isComplete() &&
    shards
      .all()
      .every((shard) => shard.subscriberLink.isUp() && shard.historyLink.isUp() && shard.subscriber.isSettled());

  const currentHealth = (): BrokerHealth => {
    const publisherUp =
      shards.isComplete() && shards.all().every((shard) => shard.commands.isUp() && shard.publishLink.isUp());
    // Without the history link nothing that was missed can be healed.
    const subscriberUp = subscribersUp() && !interrupted;
    if (publisherUp && subscriberUp) return { state: 'ready' };
    const affected = publisherUp ? 'subscriber' : subscriberUp ? 'publisher' : 'both';
    const reason = shards.all().map((shard) => shard.downReason());
    return { state: 'degraded', affected, reason: reason.find((text) => text !== undefined) ?? lastReason };
  };

  const healthReports = createHealthReports({
    settleMs: options.healthSettleMs ?? DEFAULT_HEALTH_SETTLE_MS,
    report: (health) => events?.onHealth(health),
  });

  const updateHealth = (): void => {
    if (closed) return;
    const health = currentHealth();
    healthReports.update(health);
    if (health.state !== 'ready') return;
    start?.resolve();
    start = undefined;
  };

  /** The receiving side is back; the history links must prove it, since they may have gone dark unnoticed. */
  const restoreWhenUsable = (): void => {
    if (!interrupted || !subscribersUp()) return;
    Promise.all(shards.all().map((shard) => shard.historyLink.confirm())).then(
      () => {
        if (closed || !interrupted || !subscribersUp()) return;
        interrupted = false;
        events?.onRestored();
        updateHealth();
      },
      // The link is lost; it asks again when it is back.
      () => undefined,
    );
  };

  const onChange = (): void => {
    if (closed) return;
    restoreWhenUsable();
    updateHealth();
  };

  const interrupt = (reason: string): void => {
    if (closed) return;
    lastReason = reason;
    if (!interrupted) events?.onInterrupted(reason);
    interrupted = true;
  };

  const decide = (channel: string, answer: string): Promise<void> =>
    rounds.decide(keySpace.partitionOf(channel), answer);

  const ownTail = createOwnTail();
  const topology = createTopology(target, { reconnectDelayMs, onError });
  const shards = createShards({
    createShard: (url) =>
      createShard(
        url,
        {
          keySpace,
          clock,
          randomId,
          publishTimeoutMs: options.publishTimeoutMs ?? DEFAULT_PUBLISH_TIMEOUT_MS,
          minReplicas: options.minReplicas ?? 0,
          ownTail,
          numberingTtlMs,
          unpublishedTtlMs: Math.min(numberingTtlMs, UNPUBLISHED_NUMBERING_TTL_MS),
          idempotencyWindowMs: options.idempotencyWindowMs ?? IDEMPOTENCY_WINDOW_MS,
          reconnectDelayMs,
          mastersOnly: target.kind !== 'standalone',
        },
        { decide, onChange, onSubscriberDown: interrupt, onDoubt: () => topology.refresh(), onError },
      ),
    onMoved: interrupt,
    onChange,
  });

  const controlShard = (): ReturnType<typeof shards.of> => shards.of(keySpace.control.partition);
  const control = createRedisControl({
    node: options.node,
    leaseMs: options.leaseMs ?? DEFAULT_LEASE_MS,
    keySpace,
    clock,
    randomId,
    commands: () => controlShard()?.commands,
    subscriberLink: () => controlShard()?.subscriberLink,
    subscriber: shards.subscriberOf(keySpace.control.partition),
    onError,
  });
  const rounds = createRounds({
    keySpace,
    control,
    shardOf: shards.of,
    restore: createRestoration({
      keySpace,
      numberingTtlMs,
      idempotencyWindowMs: options.idempotencyWindowMs ?? IDEMPOTENCY_WINDOW_MS,
      shardOf: shards.of,
      tails: () => events?.tails() ?? [],
      ownTail,
    }),
    timeoutMs: options.restoreTimeoutMs ?? DEFAULT_RESTORE_TIMEOUT_MS,
    onError,
  });
  const history = createHistoryRouter((channel) => shards.of(keySpace.partitionOf(channel)));
  const probeChannel = createProbeChannels();
  const sessions = createRedisSessions({ keySpace, shardOf: shards.of, onFailure: () => topology.refresh() });
  const limits = createRedisLimits({
    keySpace,
    node: options.node,
    shardOf: shards.of,
    onFailure: () => topology.refresh(),
  });
  const lifecycle = createRedisLifecycle({ keySpace, shardOf: shards.of, onFailure: () => topology.refresh() });
  const revocations = createRedisRevocations({
    keySpace,
    shardOf: shards.of,
    randomId,
    onFailure: () => topology.refresh(),
  });
  const closedError = (): BrokerUnavailableError => new BrokerUnavailableError('the broker is closed');

  const close = async (): Promise<void> => {
    await control.close();
    closed = true;
    rounds.close();
    healthReports.close();
    topology.close();
    shards.close('the broker is closed');
    start?.reject(closedError());
    start = undefined;
    events = undefined;
  };
  let closing: Promise<void> | undefined;

  return {
    history,
    control,
    sessions,
    limits,
    lifecycle,
    revocations,
    start(given) {
      if (closing !== undefined) return Promise.reject(closedError());
      if (events !== undefined) return Promise.reject(new BrokerUnavailableError('the broker is started already'));
      events = given;
      return new Promise((resolve, reject) => {
        start = { resolve, reject };
        topology.start((owners) => shards.apply(owners));
      });
    },
    publish(request) {
      const shard = shards.of(keySpace.partitionOf(request.channel));
      if (shard === undefined) return Promise.reject(new BrokerUnavailableError('not connected to Redis'));
      return shard.publisher.publish(request);
    },
    publishEphemeral(request) {
      const shard = shards.of(keySpace.partitionOf(request.channel));
      if (shard === undefined) return Promise.reject(new BrokerUnavailableError('not connected to Redis'));
      return shard.ephemeral.publish(request);
    },
    subscribe(channel) {
      const { topic, partition } = keySpace.of(channel);
      return shards.subscriberOf(partition).subscribe(topic, partition, (message) => {
        if (isEphemeral(message)) events?.onEphemeral(decodeEphemeral(channel, message));
        else events?.onPublications(decodeRun(channel, message));
      });
    },
    unsubscribe(channel) {
      if (closing !== undefined) return Promise.reject(closedError());
      const { topic, partition } = keySpace.of(channel);
      shards.subscriberOf(partition).unsubscribe(topic);
      return Promise.resolve();
    },
    probeChannels: (prefix) => shards.firstPartitions().map((partition) => probeChannel(prefix, partition)),
    renewSubscriber: (channel, reason) => shards.of(keySpace.partitionOf(channel))?.subscriberLink.reset(reason),
    health: () => (closed ? { state: 'degraded', affected: 'both', reason: 'closed' } : currentHealth()),
    close: () => (closing ??= close()),
  };
};
