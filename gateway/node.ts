// One process's life: wires the rooms together, starts, serves, drains, stops.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { closeCodes } from '../protocol/codes.ts';
import type { DrainAnswer, Health } from '../protocol/http.ts';
import { createLimits } from './access/limits/limits.ts';
import { createAccess } from './access/access.ts';
import { createApiKeys } from './access/api-keys.ts';
import { createRevocations } from './access/revocations.ts';
import { openTokens } from './access/tokens/tokens.ts';
import { createAnnouncement } from './announcement.ts';
import { createBackplaneState } from './backplane-state.ts';
import { createPublishing } from './channels/publishing.ts';
import { createHistoryReading } from './channels/reading.ts';
import { createClientSockets } from './client-sockets.ts';
import type { Clock, IdSource } from './clock.ts';
import { type Config, namespaceOfChannel } from './config.ts';
import { type Failure, toFailure } from './failure.ts';
import { createFanout } from './fanout/fanout.ts';
import { createLifecycle } from './hooks/events/lifecycle.ts';
import { createHooks } from './hooks/hooks.ts';
import { type Listeners, openListeners } from './listeners.ts';
import { createNodeStatistics } from './node-statistics.ts';
import { createEventLoopMeter } from './observability/event-loop.ts';
import type { Logger } from './observability/logger.ts';
import { closeCodeLabel } from './observability/metrics.ts';
import { createMetricsRegistry, type MetricsRegistry } from './observability/registry.ts';
import { createProtection } from './protection.ts';
import { announcedOf, type DrainPlan } from './overload/drain.ts';
import { createMoving } from './overload/moving.ts';
import { runCommand } from './session/commands/run-command.ts';
import type { Connection, ConnectionHost } from './session/connection.ts';
import { createAdmitting } from './overload/admitting.ts';
import { createDeadlines } from './session/deadlines.ts';
import { createDirectory } from './session/directory.ts';
import { createExpiry } from './session/expiry.ts';
import { createManaging } from './session/managing.ts';
import { createRevoking } from './session/revoking.ts';
import { createContinuation } from './session/continuation/continuation.ts';
import { noSessions, type Sessions } from './session/continuation/sessions.ts';
import { openSubscription } from './session/commands/subscribe.ts';
import type { SessionServices } from './session/services.ts';
import { visitInSlices } from './session/slices.ts';
import { createHeartbeats } from './transports/heartbeat.ts';

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
/** Part of the time nodes wait for one another in which an explained connection is watched. */
const SAMPLES_PER_TIMEOUT = 4;
/** Turns in which a node that ends answers what had arrived; more would let steady requests keep it from ending. */
const LAST_ANSWER_ROUNDS = 2;
/** Ephemeral messages that wait for their turn may take so much, bytes, and this part of the memory budget. */
const MAX_EPHEMERAL_BYTES = 32 * 1024 * 1024;
const EPHEMERAL_PER_BUDGET = 8;
/** Connections told about the broker between two turns of the event loop. */
const STATUS_PACE = { size: 500, pauseMs: 0 } as const;
/** Heartbeats looked at between two turns of the event loop. */
const HEARTBEAT_PACE = { size: 250, pauseMs: 0 } as const;

export const createNode = (options: NodeOptions): Node => {
  const { config, broker, clock, ids, logger, version, onDraining } = options;
  const metrics = createMetricsRegistry();
  const loop = createEventLoopMeter();
  const connections = createDirectory();
  const pendingRequests = new Set<Promise<unknown>>();
  const namespaceOf = (channel: string) => namespaceOfChannel(config, channel);
  const kicksAnybody = [...config.namespaces.values()].some(({ kickBehind }) => kickBehind !== undefined);
  let stage: 'starting' | 'serving' | 'draining' | 'stopped' = 'starting';
  let listeners: Listeners | undefined;
  let announcer: NodeJS.Timeout | undefined;
  let pulse: NodeJS.Timeout | undefined;
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

  const protection = createProtection({
    config,
    clock,
    metrics,
    logger,
    loop,
    connections,
    shrinkRings: (maxBytes) => fanout.shrinkRings(maxBytes),
    onIdle: (connection, times) => moving.handleIdle(connection, times),
  });
  const { overload, budget, inbound } = protection;
  const fanout = createFanout({
    broker,
    clock,
    metrics,
    boundsOf: (channel) => namespaceOf(channel).history,
    limitsOf: namespaceOf,
    delayMs: protection.delayMs,
    publishNative: (topic, frame) => listeners?.publish(topic, frame),
    maxChannelBytes: config.maxRingBytes,
    maxTotalBytes: () => budget.ringAllowance,
    onCharged: protection.onCharged,
    isThinned: () => config.overloadEphemeralMs > 0 && overload.isEngaged('thin_ephemeral'),
    restMs: config.overloadEphemeralMs,
    maxWaitingBytes: Math.min(MAX_EPHEMERAL_BYTES, config.memoryBudgetBytes / EPHEMERAL_PER_BUDGET),
    onAudience: (channel, isThere) => lifecycle.handleAudience(channel, isThere),
    onError,
  });
  const { hub } = fanout;
  const publishing = createPublishing({ broker, namespaceOf, metrics, clock, load: overload });
  const reading = createHistoryReading(broker, namespaceOf);

  const tellClients = (state: 'ready' | 'degraded'): void => {
    void visitInSlices(connections, STATUS_PACE, (connection) => {
      // Overtaken by a later change: that one tells the rest.
      if (connection.state !== 'connected' || backplane.summary().state !== state) return;
      connection.send({ type: 'status', broker: state });
    });
  };
  const backplane = createBackplaneState({
    nodeName: config.nodeName,
    broker,
    clock,
    hub,
    metrics,
    logger,
    onError,
    onChanged: tellClients,
  });
  const brokerState = () => backplane.summary().state;

  const health = (): Health => {
    const { nodeName: node } = config;
    if (stage === 'draining' || stage === 'stopped') return { status: 'draining', reasons: ['draining'], node };
    const summary = backplane.summary();
    if (summary.state === 'degraded') return { status: 'not_ready', reasons: [summary.reason], node };
    if (stage === 'starting') return { status: 'not_ready', reasons: ['starting'], node };
    const { level, reasons } = overload.state();
    return { status: 'ready', reasons: [], node, overload: { level, reasons: [...reasons] } };
  };
  const nodeState = () => {
    const { status } = health();
    return status === 'ready' || status === 'draining' ? status : 'not_ready';
  };

  const deadlines = createDeadlines<Connection>({
    clock,
    lengthMs: config.connectDeadlineMs,
    isDue: (connection) => connection.state === 'open' && !admitting.isEntering(connection),
    onExpired: (connection) => connection.close(closeCodes.noConnect.code, closeCodes.noConnect.name),
  });

  const expiry = createExpiry<Connection>({
    clock,
    graceMs: config.tokenExpiryGraceMs,
    onExpired: (connection) => connection.close(closeCodes.tokenExpired.code, closeCodes.tokenExpired.name),
  });
  const revocations = createRevocations(clock);
  metrics.gauge('weir_revocations', () => revocations.size);
  const tokens = openTokens({ config, clock, metrics, logger });
  const apiKeys = createApiKeys(config.apiKeys);
  metrics.gauge('weir_api_keys', () => apiKeys.size);

  const sessions: Sessions =
    config.sessionTtlMs === 0
      ? noSessions
      : createContinuation({
          kept: broker.sessions,
          control: broker.control,
          controlTimeoutMs: config.controlTimeoutMs,
          hub,
          clock,
          metrics,
          nodeName: config.nodeName,
          leaseMs: config.sessionTtlMs,
          open: (connection, order) => openSubscription(connection, order, services),
          toFailure: failureOf,
          onError,
        });
  const nowMs = () => clock.monotonicMs();
  const limits = createLimits({ settings: config, cluster: broker.limits, metrics, nowMs });
  const hooks = createHooks({ settings: config, nodeName: config.nodeName, clock, ids, random: Math.random, metrics });
  const lifecycle = createLifecycle({
    settings: config,
    log: broker.lifecycle,
    hook: hooks.events,
    isTold: (channel) => namespaceOf(channel).hookEvents,
    clock,
    ids,
    random: Math.random,
    metrics,
    onError,
  });
  const services: SessionServices = {
    settings: config,
    hooks,
    lifecycle,
    hub,
    access: createAccess(namespaceOf),
    namespaceOf,
    publishing,
    reading,
    sessions,
    limits,
    budget,
    overload,
    tokens,
    revocations,
    directory: connections,
    expiry,
    metrics,
    clock,
    brokerState,
    toFailure: failureOf,
  };
  const admitting = createAdmitting({
    settings: config,
    metrics,
    nowMs,
    enterNetwork: ({ account, address }) => limits.enterNetwork(account, address),
    run: (connection, command) => runCommand(connection, command, services),
  });
  const managing = createManaging({
    nodeName: config.nodeName,
    connections,
    services,
    sampleMs: config.controlTimeoutMs / SAMPLES_PER_TIMEOUT,
  });
  const revoking = createRevoking({
    store: broker.revocations,
    control: broker.control,
    controlTimeoutMs: config.controlTimeoutMs,
    known: revocations,
    connections,
    onError,
  });
  const host: ConnectionHost = {
    metrics,
    ids,
    limits,
    clock,
    maxFrameBytes: config.maxFrameBytes,
    maxOutboxBytes: config.maxOutboxBytes,
    run: (connection, command) => admitting.run(connection, command),
    toFailure: (connection, thrown) => failureOf(thrown, { connection: connection.id }),
    unsubscribe: (subscription) => hub.unsubscribe(subscription),
    ...protection.host,
    onDrain: (connection) => protection.handleDrain(connection) || fanout.handleDrain(connection),
    onClosing: (connection, code) => sessions.handleClosing(connection, code),
    onClosed(connection, code) {
      connections.delete(connection);
      admitting.handleClosed(connection);
      limits.leave(connection.account, connection);
      budget.forget(connection);
      expiry.cancel(connection);
      moving.handleClosed(connection);
      lifecycle.disconnected(connection.id, code);
      metrics.count('weir_connections_closed_total', { code: closeCodeLabel(code) });
      logger.debug({ event: 'disconnect', connection: connection.id, code }, 'connection closed');
    },
  };

  const statistics = createNodeStatistics({
    config,
    version,
    clock,
    metrics,
    loop,
    fanout,
    budget,
    connections,
    brokerState,
    nodeState,
  });

  const heartbeats = createHeartbeats({
    intervalMs: config.pingIntervalMs,
    maxStretch: config.pingMaxStretch,
    maxStallMs: config.maxStallMs,
    random: Math.random,
    counters: metrics.hot,
  });

  const webSocket = createClientSockets({
    config,
    metrics,
    connections,
    heartbeats,
    inbound,
    host,
    refusedStage: () => {
      // Until the load balancer has noticed, who comes is told to move on, which is gentler than a refusal.
      const isNoticing = stage === 'draining' && moving.drain.isNoticing;
      return stage === 'serving' || isNoticing ? undefined : stage;
    },
    refusalOfUpgrade: () => admitting.refusalOfUpgrade(),
    onOpened(connection) {
      admitting.handleOpened(connection);
      moving.handleOpened(connection);
      deadlines.add(connection);
    },
  });

  const moving = createMoving({
    config,
    control: broker.control,
    connections,
    deafForMs: backplane.deafForMs,
    random: Math.random,
    clock,
    metrics,
    logger,
    onAsked: (connection) => sessions.handleChanged(connection),
    onError,
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
    if (kicksAnybody) fanout.kick();
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
      await Promise.allSettled(pendingRequests);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await sessions.close();
    stage = 'stopped';
    clearInterval(announcer);
    clearInterval(pulse);
    backplane.close();
    announcement.close();
    listeners?.close();
    deadlines.close();
    admitting.close();
    limits.close();
    expiry.close();
    tokens.close();
    moving.close();
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
        hub,
        publishing,
        reading,
        managing,
        revoking,
        metrics,
        clock,
        logger,
        ownStats: statistics.own,
        health,
        drain,
        toFailure: failureOf,
        webSocket,
        refusePublish: () => overload.refusePublish('http'),
        budget,
        inbound,
        pendingRequests,
      });
      const { port, internalPort } = listeners;
      pulse = setInterval(
        () => void visitInSlices(heartbeats.tick(), HEARTBEAT_PACE, (beat) => beat.look()),
        heartbeats.tickMs,
      );
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
