// The Redis driver: publications through one script per tick, deliveries over pub/sub, history in streams.
//
// Three connections, so that none waits for another: commands (publish, leases), subscriber, history reads.
// While the subscriber is not connected, `subscribe` of a new channel is refused at once; channels subscribed before are
// subscribed anew before `onRestored`, which also waits for the history link: it is what the receiver heals with.
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
import { createKeySpace } from './keys.ts';
import { createLink, type Link } from './link.ts';
import { createPublisher } from './publisher.ts';
import { createReconnectSchedule } from './reconnect-schedule.ts';
import { decodeRun } from './record.ts';
import { createRedisControl } from './redis-control.ts';
import { createRedisHistory } from './redis-history.ts';
import { checkRedisUrl } from './redis-url.ts';
import { createSubscriber } from './subscriber.ts';

export { RedisUrlError } from './redis-url.ts';

export interface RedisBrokerOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string;
  /** In front of every key and topic; clusters with different prefixes share a Redis without meeting. */
  readonly prefix: string;
  /** Unique name of the node in the cluster. */
  readonly node: string;
  readonly clock?: BrokerClock;
  /** Names epochs and instances; must not repeat, ASCII without spaces. */
  readonly randomId?: () => string;
  readonly publishTimeoutMs?: number;
  readonly leaseMs?: number;
  readonly idempotencyWindowMs?: number;
  /** How long a channel keeps its numbering after its last publication, ms. */
  readonly numberingTtlMs?: number;
  /** How long a change within an outage lasts before it is told, ms. */
  readonly healthSettleMs?: number;
}

const DEFAULT_PUBLISH_TIMEOUT_MS = 2_000;
const DEFAULT_HEALTH_SETTLE_MS = 1_000;

/** Throws `RedisUrlError` for URLs it cannot serve. */
export const createRedisBroker = (options: RedisBrokerOptions): Broker => {
  const url = checkRedisUrl(options.url);
  const clock = options.clock ?? systemClock;
  const randomId = options.randomId ?? randomEpoch;
  const numberingTtlMs = options.numberingTtlMs ?? NUMBERING_TTL_MS;
  const keySpace = createKeySpace(options.prefix);
  const reconnectDelayMs = createReconnectSchedule();

  let events: BrokerEvents | undefined;
  let closed = false;
  // From the loss of the subscriber link until `onRestored`.
  let interrupted = false;
  const downReasons = new Map<Link, string>();
  let start: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  const onError = (error: Error, stage: string): void => {
    if (!closed) events?.onError(error, { stage });
  };

  const currentHealth = (): BrokerHealth => {
    const publisherUp = commands.isUp();
    // Without the history link nothing that was missed can be healed.
    const subscriberUp = subscriberLink.isUp() && historyLink.isUp() && !interrupted;
    if (publisherUp && subscriberUp) return { state: 'ready' };
    const affected = publisherUp ? 'subscriber' : subscriberUp ? 'publisher' : 'both';
    const lost = [subscriberLink, historyLink, commands].find((link) => !link.isUp()) ?? subscriberLink;
    return { state: 'degraded', affected, reason: downReasons.get(lost) ?? 'not connected yet' };
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

  /** Both links of the receiving side are back; the history link must prove it, since it may have gone dark unnoticed. */
  const restoreWhenUsable = (): void => {
    if (!interrupted || !subscriberLink.isUp() || !historyLink.isUp()) return;
    historyLink.confirm().then(
      () => {
        if (closed || !interrupted || !subscriberLink.isUp() || !historyLink.isUp()) return;
        interrupted = false;
        events?.onRestored();
        updateHealth();
      },
      // The link is lost; it asks again when it is back.
      () => undefined,
    );
  };

  const publisher = createPublisher({
    keySpace,
    randomId,
    publishTimeoutMs: options.publishTimeoutMs ?? DEFAULT_PUBLISH_TIMEOUT_MS,
    numberingTtlMs,
    idempotencyWindowMs: options.idempotencyWindowMs ?? IDEMPOTENCY_WINDOW_MS,
    redis: () => commands.redis,
    isUp: () => commands.isUp(),
    reset: (reason) => commands.reset(reason),
    onError,
  });

  const commands = createLink({
    url,
    name: 'commands',
    prepare: (redis) => publisher.prepare(redis),
    reconnectDelayMs,
    onUp: updateHealth,
    onDown(reason) {
      downReasons.set(commands, reason);
      publisher.abandon(reason);
      updateHealth();
    },
    onError,
  });

  const subscriber = createSubscriber({
    redis: () => subscriberLink.redis,
    isUp: () => subscriberLink.isUp(),
    onError,
  });

  const subscriberLink = createLink({
    url,
    name: 'subscriber',
    prepare: (redis) => subscriber.prepare(redis),
    reconnectDelayMs,
    onUp() {
      subscriber.onUp();
      restoreWhenUsable();
      updateHealth();
    },
    onDown(reason) {
      downReasons.set(subscriberLink, reason);
      subscriber.onDown(reason);
      if (!interrupted) events?.onInterrupted(reason);
      interrupted = true;
      updateHealth();
    },
    onError,
  });
  subscriber.listen(subscriberLink.redis);

  const historyLink = createLink({
    url,
    name: 'history',
    prepare: () => Promise.resolve(),
    reconnectDelayMs,
    onUp() {
      restoreWhenUsable();
      updateHealth();
    },
    onDown(reason) {
      downReasons.set(historyLink, reason);
      updateHealth();
    },
    onError,
  });

  const control = createRedisControl({
    node: options.node,
    leaseMs: options.leaseMs ?? DEFAULT_LEASE_MS,
    keySpace,
    clock,
    randomId,
    commands,
    subscriberLink,
    subscriber,
    onError,
  });

  const history = createRedisHistory({
    link: historyLink,
    keySpace,
    clock,
    randomId,
    unpublishedTtlMs: Math.min(numberingTtlMs, UNPUBLISHED_NUMBERING_TTL_MS),
  });
  const closedError = (): BrokerUnavailableError => new BrokerUnavailableError('the broker is closed');

  const close = async (): Promise<void> => {
    await control.close();
    closed = true;
    healthReports.close();
    for (const link of [commands, subscriberLink, historyLink]) link.close();
    publisher.abandon('the broker is closed');
    subscriber.close();
    start?.reject(closedError());
    start = undefined;
    events = undefined;
  };
  let closing: Promise<void> | undefined;

  return {
    history,
    control,
    start(given) {
      if (closing !== undefined) return Promise.reject(closedError());
      if (events !== undefined) return Promise.reject(new BrokerUnavailableError('the broker is started already'));
      events = given;
      return new Promise((resolve, reject) => {
        start = { resolve, reject };
        for (const link of [commands, subscriberLink, historyLink]) link.connect();
      });
    },
    publish: (request) => publisher.publish(request),
    subscribe(channel) {
      return subscriber.subscribe(keySpace.of(channel).topic, (message) => {
        events?.onPublications(decodeRun(channel, message));
      });
    },
    unsubscribe(channel) {
      if (closing !== undefined) return Promise.reject(closedError());
      subscriber.unsubscribe(keySpace.of(channel).topic);
      return Promise.resolve();
    },
    health: () => (closed ? { state: 'degraded', affected: 'both', reason: 'closed' } : currentHealth()),
    close: () => (closing ??= close()),
  };
};
