// The Redis driver: publications through one script per tick, deliveries over pub/sub, history in streams.
//
// Three connections, so that none waits for another: commands (publish, leases), subscriber, history reads.
// While the subscriber is not connected, `subscribe` of a new channel is refused at once; channels subscribed before are
// subscribed anew before `onRestored`.
import type { Broker, BrokerEvents, BrokerHealth } from '../broker.ts';
import { BrokerUnavailableError } from '../broker.ts';
import {
  DEFAULT_LEASE_MS,
  IDEMPOTENCY_WINDOW_MS,
  NUMBERING_TTL_MS,
  randomEpoch,
  systemClock,
  type BrokerClock,
} from '../clock.ts';
import { createKeySpace } from './keys.ts';
import { createLink, type Link } from './link.ts';
import { createPublisher } from './publisher.ts';
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
  /** How long a channel that nobody publishes to keeps its numbering, ms. */
  readonly numberingTtlMs?: number;
}

const DEFAULT_PUBLISH_TIMEOUT_MS = 2_000;

/** Throws `RedisUrlError` for URLs it cannot serve. */
export const createRedisBroker = (options: RedisBrokerOptions): Broker => {
  const url = checkRedisUrl(options.url);
  const clock = options.clock ?? systemClock;
  const randomId = options.randomId ?? randomEpoch;
  const numberingTtlMs = options.numberingTtlMs ?? NUMBERING_TTL_MS;
  const keySpace = createKeySpace(options.prefix);

  let events: BrokerEvents | undefined;
  let closed = false;
  let health: BrokerHealth = { state: 'degraded', affected: 'both', reason: 'not connected yet' };
  let wasReady = false;
  const downReasons = new Map<Link, string>();
  let start: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  const onError = (error: Error, stage: string): void => {
    if (!closed) events?.onError(error, { stage });
  };

  const currentHealth = (): BrokerHealth => {
    const publisherUp = commands.isUp();
    const subscriberUp = subscriberLink.isUp();
    if (publisherUp && subscriberUp) return { state: 'ready' };
    const affected = publisherUp ? 'subscriber' : subscriberUp ? 'publisher' : 'both';
    const reason = downReasons.get(subscriberUp ? commands : subscriberLink) ?? 'not connected yet';
    return { state: 'degraded', affected, reason };
  };

  const updateHealth = (): void => {
    if (closed) return;
    const next = currentHealth();
    const before = health;
    health = next;
    if (next.state === 'degraded') {
      if (!wasReady || (before.state === 'degraded' && before.affected === next.affected)) return;
    } else if (before.state === 'ready') return;
    wasReady ||= next.state === 'ready';
    events?.onHealth(next);
  };

  const startWhenUp = (): void => {
    if (!commands.isUp() || !subscriberLink.isUp() || !historyLink.isUp()) return;
    start?.resolve();
    start = undefined;
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
    onUp() {
      updateHealth();
      startWhenUp();
    },
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
  let interrupted = false;

  const subscriberLink = createLink({
    url,
    name: 'subscriber',
    prepare: (redis) => subscriber.prepare(redis),
    onUp() {
      subscriber.onUp();
      updateHealth();
      if (interrupted) events?.onRestored();
      interrupted = false;
      startWhenUp();
    },
    onDown(reason) {
      downReasons.set(subscriberLink, reason);
      subscriber.onDown(reason);
      interrupted = true;
      events?.onInterrupted(reason);
      updateHealth();
    },
    onError,
  });
  subscriber.listen(subscriberLink.redis);

  const historyLink = createLink({
    url,
    name: 'history',
    prepare: () => Promise.resolve(),
    onUp: startWhenUp,
    onDown: () => undefined,
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

  const history = createRedisHistory({ link: historyLink, keySpace, clock, randomId, numberingTtlMs });
  const closedError = (): BrokerUnavailableError => new BrokerUnavailableError('the broker is closed');

  const close = async (): Promise<void> => {
    await control.close();
    closed = true;
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
    health: () => (closed ? { state: 'degraded', affected: 'both', reason: 'closed' } : health),
    close: () => (closing ??= close()),
  };
};
