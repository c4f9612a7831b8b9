// One process's life: wires the rooms together, starts, serves, drains, stops.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import type { DrainAnswer, Health } from '../protocol/http.ts';
import { createApiKeys } from './access/api-keys.ts';
import { createAnnouncement } from './announcement.ts';
import { createUnderWay } from './api/under-way.ts';
import { createChannelTraffic } from './channel-traffic.ts';
import type { Clock, IdSource } from './clock.ts';
import { createCommandServices } from './command-services.ts';
import { type Config, namespaceOfChannel } from './config.ts';
import { createConnectionLife } from './connection-life.ts';
import { type Failure, toFailure } from './failure.ts';
import { type Listeners, openListeners } from './listeners.ts';
import { createNodeStatistics } from './node-statistics.ts';
import { createEventLoopMeter } from './observability/event-loop.ts';
import type { Logger } from './observability/logger.ts';
import { createMetricsRegistry, type MetricsRegistry } from './observability/registry.ts';
import { announcedOf, type DrainPlan } from './overload/drain.ts';
import { createProtection } from './protection.ts';
import { createReadiness, type Stage } from './readiness.ts';
import { createDirectory } from './session/directory.ts';

export interface NodeOptions {
  readonly config: Config;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly logger: Logger;
  readonly version: string;
  /** The node begins to drain; it is to have ended, whatever happens, after so many ms. */
  readonly onDraining: (timeoutMs: number) => void;
}

export interface Node {
  /** Listens, then connects the broker; resolves when it listens. Ready when `health()` says so. */
  start(): Promise<{ readonly port: number; readonly internalPort: number | undefined }>;
  health(): Health;
  /**
   * Turns readiness off, sends the clients to the nodes that stay, closes who does not move, ends the broker; `timeoutMs` for all
   * of it, else as configured. Resolves at once with what it will do; a later call changes nothing and gets the same answer.
   */
  drain(timeoutMs?: number): Promise<DrainAnswer>;
  /** Takes API keys in the place of those it has (undefined: none are taken) and reads the file of public keys again; throws when that is no good. */
  renewCredentials(renewed: { readonly apiKeys: Config['apiKeys'] | undefined }): void;
  readonly metrics: Pick<MetricsRegistry, 'count'>;
  /** Resolves when a drain has ended and all is given back. */
  readonly stopped: Promise<void>;
}

/** Statistics and lease are renewed at this pace, ms. */
const ANNOUNCE_MS = 1000;
/** Time kept back from the drain timeout for the broker and the process to end, ms. */
const SHUTDOWN_RESERVE_MS = 1000;
/** Turns in which a node that ends answers what had arrived; more would let steady requests keep it from ending. */
const LAST_ANSWER_ROUNDS = 2;

export const createNode = (options: NodeOptions): Node => {
  const { config, broker, clock, ids, logger, version, onDraining } = options;
  const metrics = createMetricsRegistry();
  const loop = createEventLoopMeter();
  const connections = createDirectory();
  const requests = createUnderWay();
  const namespaceOf = (channel: string) => namespaceOfChannel(config, channel);
  let stage: Stage = 'starting';
  let listeners: Listeners | undefined;
  let announcer: NodeJS.Timeout | undefined;
  let draining: Promise<DrainAnswer> | undefined;
  let markStopped = (): void => undefined;
  const stopped = new Promise<void>((resolve) => (markStopped = resolve));

  const onError: BrokerEvents['onError'] = (error, { stage: where }) => {
    metrics.count('weir_broker_errors_total', { stage: where });
    logger.warn({ event: 'broker_error', stage: where, err: error }, 'broker error');
  };
  const failureOf = (thrown: unknown, where: Readonly<Record<string, string>> = {}): Failure =>
    toFailure(
      thrown,
      (correlationId, cause) =>
        logger.error({ event: 'failed', correlationId, ...where, err: cause }, 'internal error'),
      () => ids.randomId(),
    );

  const apiKeys = createApiKeys(config.apiKeys);
  metrics.gauge('weir_api_keys', () => apiKeys.size);

  const shared = { config, broker, clock, ids, metrics, logger, connections, namespaceOf, onError };
  const protection = createProtection({
    ...shared,
    loop,
    shrinkRings: (maxBytes) => fanout.shrinkRings(maxBytes),
    backlogMs: () => fanout.backlogMs,
    onIdle: (connection, times) => moving.handleIdle(connection, times),
  });
  const { overload, budget, inbound } = protection;
  const traffic = createChannelTraffic({
    ...shared,
    protection,
    publishNative: (topic, frame) => listeners?.publish(topic, frame),
    onAudience: (channel, isThere) => lifecycle.handleAudience(channel, isThere),
  });
  const { fanout, backplane } = traffic;
  const commands = createCommandServices({ ...shared, protection, traffic, toFailure: failureOf });
  const { sessions, limits, expiry, tokens, hooks, lifecycle, managing, revoking } = commands;
  const life = createConnectionLife({
    ...shared,
    protection,
    fanout,
    backplane,
    commands,
    stage: () => stage,
    toFailure: failureOf,
  });
  const { moving } = life;

  const { health, nodeState } = createReadiness({
    nodeName: config.nodeName,
    stage: () => stage,
    summary: backplane.summary,
    overload: overload.state,
  });
  const statistics = createNodeStatistics({
    config,
    version,
    clock,
    metrics,
    loop,
    fanout,
    budget,
    connections,
    brokerState: () => backplane.summary().state,
    nodeState,
  });
  const announcement = createAnnouncement({
    config,
    version,
    health,
    connections: () => connections.size,
    weight: overload.weight,
  });
  const announce = (): void => {
    statistics.sample();
    traffic.look();
    if (stage === 'serving') moving.look();
    if (broker.health().state === 'ready') revoking.look();
    const info = announcement.info();
    if (info === undefined) return;
    broker.control.announce(info).catch((error: unknown) => onError(error as Error, { stage: 'announce' }));
  };

  const begin = async (timeoutMs: number): Promise<DrainAnswer> => {
    const isMember = stage === 'serving';
    stage = 'draining';
    onDraining(timeoutMs);
    // The others are not to count on this node, nor send it theirs.
    if (isMember) announce();
    const budgetMs = Math.max(0, timeoutMs - SHUTDOWN_RESERVE_MS);
    const plan = await moving.drain.plan(budgetMs);
    logger.info({ event: 'drain', timeoutMs, ...plan }, 'draining');
    void drainOnce(plan, budgetMs);
    return { node: config.nodeName, ...announcedOf(plan), timeoutMs };
  };

  const drain = (timeoutMs = config.drainTimeoutMs): Promise<DrainAnswer> => (draining ??= begin(timeoutMs));

  const drainOnce = async (plan: DrainPlan, budgetMs: number): Promise<void> => {
    await moving.drain.run(plan, budgetMs);
    // What was accepted is answered before the broker goes; its own timeout bounds the wait. What is answered gets a turn of
    // the loop to leave, and what had arrived by then to be answered as well: an exit resets its connections.
    for (let round = 0; round < LAST_ANSWER_ROUNDS; round++) {
      await requests.settled();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await sessions.close();
    stage = 'stopped';
    clearInterval(announcer);
    backplane.close();
    announcement.close();
    listeners?.close();
    life.close();
    limits.close();
    expiry.close();
    tokens.close();
    fanout.close();
    protection.close();
    loop.close();
    await lifecycle.close();
    hooks.close();
    await broker.close();
    logger.info({ event: 'stopped' }, 'stopped');
    markStopped();
  };

  /** Tries until it succeeds or the node ends. */
  const synchroniseRevocations = async (): Promise<void> => {
    while (stage === 'starting') {
      try {
        await revoking.synchronise();
        return;
      } catch (error) {
        onError(error as Error, { stage: 'revocations' });
        await new Promise((resolve) => setTimeout(resolve, ANNOUNCE_MS));
      }
    }
  };

  return {
    health,
    async start() {
      listeners = await openListeners({
        config,
        apiKeys,
        broker,
        hub: fanout.hub,
        publishing: traffic.publishing,
        reading: traffic.reading,
        managing,
        revoking,
        metrics,
        clock,
        logger,
        ownStats: statistics.own,
        health,
        drain,
        toFailure: failureOf,
        webSocket: life.webSocket,
        refusePublish: () => overload.refusePublish('http'),
        budget,
        inbound,
        requests,
      });
      const { port, internalPort } = listeners;
      life.start();
      await announcement.open({ port, internalPort }).catch((error: unknown) => {
        listeners?.close();
        throw error;
      });
      const started = broker.start(backplane.events);
      // Nobody is let in before it is known who may not.
      void started.then(synchroniseRevocations).then(
        () => {
          if (stage !== 'starting') return;
          stage = 'serving';
          backplane.start();
          protection.start();
          lifecycle.start();
          announce();
          announcer = setInterval(announce, ANNOUNCE_MS);
          logger.info({ event: 'ready', port, internalPort }, 'node is ready');
        },
        (error: unknown) => {
          // A drain that overtakes the start ends it.
          if (stage === 'starting') onError(error as Error, { stage: 'start' });
        },
      );
      return { port, internalPort };
    },
    drain,
    metrics,
    renewCredentials(renewed) {
      // What may throw first, so that both are taken or none.
      tokens.reloadKeys();
      if (renewed.apiKeys !== undefined) apiKeys.replace(renewed.apiKeys);
    },
    stopped,
  };
};
