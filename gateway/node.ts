// One process's life: wires the rooms together, starts, serves, drains, stops.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { closeCodes } from '../protocol/codes.ts';
import type { Health } from '../protocol/http.ts';
import { createLimits } from './access/limits/limits.ts';
import { createAccess } from './access/access.ts';
import { createClientAddress } from './access/client-address.ts';
import { createHostCheck } from './access/host.ts';
import { createOriginCheck } from './access/origin.ts';
import { createAnnouncement } from './announcement.ts';
import { createHandshakeCheck } from './api/handshake.ts';
import { createBackplaneState } from './backplane-state.ts';
import { createPublishing } from './channels/publishing.ts';
import { createHistoryReading } from './channels/reading.ts';
import type { Clock, IdSource } from './clock.ts';
import { type Config, namespaceOfChannel } from './config.ts';
import { weirDialect } from './dialects/weir.ts';
import { type Failure, toFailure } from './failure.ts';
import { createByteBudget } from './fanout/byte-budget.ts';
import { coalesceDelayMs } from './fanout/coalescing.ts';
import { createFanout } from './fanout/fanout.ts';
import { type Listeners, openListeners } from './listeners.ts';
import { createNodeStatistics } from './node-statistics.ts';
import { createOverload } from './overload/overload.ts';
import { createEventLoopMeter } from './observability/event-loop.ts';
import type { Logger } from './observability/logger.ts';
import { closeCodeLabel } from './observability/metrics.ts';
import { createMetricsRegistry } from './observability/registry.ts';
import { weightByUse } from './overload/agent-check.ts';
import { createBudgetKeeping } from './session/budget-keeping.ts';
import { runCommand } from './session/commands/run-command.ts';
import { Connection, type ConnectionHost } from './session/connection.ts';
import { createAdmitting } from './session/admitting.ts';
import { createDeadlines } from './session/deadlines.ts';
import { createIdleMoving } from './session/idle-moving.ts';
import { createMoving } from './session/moving.ts';
import { createContinuation } from './session/continuation/continuation.ts';
import { noSessions, type Sessions } from './session/continuation/sessions.ts';
import { openSubscription } from './session/commands/subscribe.ts';
import type { SessionServices } from './session/services.ts';
import { closingPace, visitInSlices } from './session/slices.ts';
import { createHeartbeats } from './transports/heartbeat.ts';
import type { WebSocketOptions } from './transports/websocket.ts';

export interface NodeOptions {
  readonly config: Config;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly logger: Logger;
  readonly version: string;
}

export interface Node {
  /** Listens, then connects the broker; resolves when it listens. Ready when `health()` says so. */
  start(): Promise<{ readonly port: number; readonly internalPort: number | undefined }>;
  health(): Health;
  /** Refuses what is new, closes connections with 1012 in slices, ends the broker. Resolves when all is given back. */
  drain(): Promise<void>;
}

/** Statistics and lease are renewed at this pace, ms. */
const ANNOUNCE_MS = 1000;
/** Delay named to clients that meet a full or draining node, ms; SDKs add jitter. */
const REFUSED_RETRY_MS = 1000;
/** New connections a second announced to others. */
const ADMISSION_PER_SECOND = 1000;
/** Weight of the newest of the samples taken at `ANNOUNCE_MS`, by which a node's use is smoothed. */
const USE_SMOOTHING = 0.2;
/** Pause between two looks at whether somebody has to give way within the memory budget, ms. */
const BUDGET_LOOK_MS = 100;
/** Time kept back from the drain timeout for the broker and the process to end, ms. */
const SHUTDOWN_RESERVE_MS = 1000;
/** Connections told about the broker between two turns of the event loop. */
const STATUS_PACE = { size: 500, pauseMs: 0 } as const;
/** Heartbeats looked at between two turns of the event loop. */
const HEARTBEAT_PACE = { size: 250, pauseMs: 0 } as const;
/** The engine's own buffer bound over ours: ours must act first, because the engine's drops in silence. */
const ENGINE_BACKPRESSURE_FACTOR = 4;

export const createNode = ({ config, broker, clock, ids, logger, version }: NodeOptions): Node => {
  const metrics = createMetricsRegistry();
  const loop = createEventLoopMeter();
  const connections = new Set<Connection>();
  const pendingRequests = new Set<Promise<unknown>>();
  const namespaceOf = (channel: string) => namespaceOfChannel(config, channel);
  let stage: 'starting' | 'serving' | 'draining' | 'stopped' = 'starting';
  let listeners: Listeners | undefined;
  let announcer: NodeJS.Timeout | undefined;
  let pulse: NodeJS.Timeout | undefined;
  let lookAtBudget: NodeJS.Timeout | undefined;
  let draining: Promise<void> | undefined;

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

  const budget = createByteBudget<Connection>(config.memoryBudgetBytes);
  const keeping = createBudgetKeeping({ budget, metrics, shrinkRings: (maxBytes) => fanout.shrinkRings(maxBytes) });
  const idleMoving = createIdleMoving({ connections, clock, idleMs: config.overloadIdleMs, random: Math.random });
  const overload = createOverload({
    clock,
    metrics,
    logger,
    random: Math.random,
    thresholds: {
      lag: config.overloadLagMs,
      cpu: config.overloadCpuPercent / 100,
      memory: config.overloadRssBytes,
      buffered: (config.memoryBudgetBytes * config.overloadBufferedPercent) / 100,
      broker: config.overloadBrokerMs,
    },
    stepMs: config.overloadStepMs,
    releaseMs: config.overloadReleaseMs,
    read: () => ({
      lag: loop.takeMeanLagMs(),
      cpu: loop.coreShare,
      memory: process.memoryUsage.rss(),
      buffered: budget.owedBytes,
    }),
    moveIdle: () => idleMoving.ask(),
  });
  const fanout = createFanout({
    broker,
    clock,
    metrics,
    boundsOf: (channel) => namespaceOf(channel).history,
    delayMs: () => {
      if (config.coalesceMs !== undefined) return config.coalesceMs;
      if (overload.isEngaged('coalesce_longer')) return config.overloadCoalesceMs;
      return coalesceDelayMs(loop.utilisation, config.coalesceMaxMs);
    },
    maxChannelBytes: config.maxRingBytes,
    maxTotalBytes: () => budget.ringAllowance,
    onCharged(part, bytes) {
      budget.charge(part, bytes);
      if (bytes > 0) keeping.handleGrowth();
    },
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
  const services: SessionServices = {
    settings: config,
    hub,
    access: createAccess(namespaceOf),
    namespaceOf,
    publishing,
    reading,
    sessions,
    limits,
    budget,
    overload,
    metrics,
    clock,
    brokerState,
  };
  const admitting = createAdmitting({
    settings: config,
    metrics,
    nowMs,
    enterNetwork: ({ account, address }) => limits.enterNetwork(account, address),
    run: (connection, command) => runCommand(connection, command, services),
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
    onHeld(connection, bytes) {
      budget.settle(connection, bytes);
      keeping.handleGrowth();
    },
    onDrain: (connection) => keeping.handleDrain(connection) || fanout.handleDrain(connection),
    onClosing: (connection, code) => sessions.handleClosing(connection, code),
    onClosed(connection, code) {
      connections.delete(connection);
      admitting.handleClosed(connection);
      limits.leave(connection.account, connection);
      budget.forget(connection);
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

  const webSocket: WebSocketOptions = {
    maxFrameBytes: config.maxFrameBytes,
    maxBackpressureBytes: config.maxOutboxBytes * ENGINE_BACKPRESSURE_FACTOR,
    heartbeats,
    maxControlBacklogBytes: config.maxOutboxBytes,
    onHandshake: createHandshakeCheck({
      acceptsHost: createHostCheck(config.allowedHosts),
      checkOrigin: createOriginCheck(config.allowedOrigins),
      clientAddress: createClientAddress(config.trustedProxies),
      metrics,
      refusal: () => {
        if (stage !== 'serving') return { reason: stage, retryAfterMs: REFUSED_RETRY_MS };
        if (connections.size >= config.maxConnections) return { reason: 'full', retryAfterMs: REFUSED_RETRY_MS };
        const retryAfterMs = admitting.refusalOfUpgrade();
        return retryAfterMs === undefined ? undefined : { reason: 'crowded', retryAfterMs };
      },
    }),
    onOpen(socket, address) {
      const connection = new Connection(socket, weirDialect, address, host);
      connections.add(connection);
      admitting.handleOpened(connection);
      metrics.hot.connectionsOpened++;
      deadlines.add(connection);
      return connection;
    },
  };

  const moving = createMoving({
    nodeName: config.nodeName,
    control: broker.control,
    connections,
    deafForMs: backplane.deafForMs,
    deafMoveAfterMs: config.deafMoveAfterMs,
    random: Math.random,
    logger,
    onError,
  });

  let smoothedUse = 0;
  const announcement = createAnnouncement({
    config,
    version,
    health,
    connections: () => connections.size,
    weight: () => weightByUse(smoothedUse, connections.size, config.maxConnections),
    admissionPerSecond: () => Math.min(ADMISSION_PER_SECOND, Math.max(0, config.maxConnections - connections.size)),
  });
  const announce = (): void => {
    statistics.sample();
    smoothedUse += USE_SMOOTHING * (loop.utilisation - smoothedUse);
    if (stage === 'serving') moving.look();
    const info = announcement.info();
    if (info === undefined) return;
    broker.control.announce(info).catch((error: unknown) => onError(error as Error, { stage: 'announce' }));
  };

  const drainOnce = async (): Promise<void> => {
    stage = 'draining';
    // Balancers need not wait for the next turn; before the broker is there nobody waits for this node.
    if (announcer !== undefined) announce();
    logger.info({ event: 'drain', connections: connections.size }, 'draining');
    const { code, name } = closeCodes.restart;
    const pace = closingPace(connections.size, config.drainTimeoutMs - SHUTDOWN_RESERVE_MS);
    await visitInSlices(connections, pace, (connection) => connection.close(code, name));
    // What was accepted is answered before the broker goes; its own timeout bounds the wait.
    await Promise.allSettled(pendingRequests);
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
    fanout.close();
    overload.close();
    clearInterval(lookAtBudget);
    keeping.close();
    loop.close();
    await broker.close();
    logger.info({ event: 'stopped' }, 'stopped');
  };

  return {
    health,
    async start() {
      listeners = await openListeners({
        config,
        broker,
        hub,
        publishing,
        reading,
        metrics,
        clock,
        logger,
        ownStats: statistics.own,
        health,
        toFailure: failureOf,
        webSocket,
        refusePublish: () => overload.refusePublish('http'),
        budget,
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
      void broker.start(backplane.events).then(
        () => {
          if (stage !== 'starting') return;
          stage = 'serving';
          backplane.start();
          overload.start();
          lookAtBudget = setInterval(() => keeping.look(), BUDGET_LOOK_MS);
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
    drain() {
      draining ??= drainOnce();
      return draining;
    },
  };
};
