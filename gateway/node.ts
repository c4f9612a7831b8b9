// One process's life: wires the rooms together, starts, serves, drains, stops.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { closeCodes } from '../protocol/codes.ts';
import type { Health } from '../protocol/http.ts';
import { createLimits } from './access/limits/limits.ts';
import { createAccess } from './access/access.ts';
import { createClientAddress } from './access/client-address.ts';
import { createHostCheck } from './access/host.ts';
import { createOriginCheck } from './access/origin.ts';
import { createRevocations } from './access/revocations.ts';
import { openTokens } from './access/tokens/tokens.ts';
import { ADMISSION_PER_SECOND, createAnnouncement } from './announcement.ts';
import { createHandshakeCheck } from './api/handshake.ts';
import { createBackplaneState } from './backplane-state.ts';
import { createPublishing } from './channels/publishing.ts';
import { createHistoryReading } from './channels/reading.ts';
import type { Clock, IdSource } from './clock.ts';
import { type Config, namespaceOfChannel } from './config.ts';
import { weirDialect } from './dialects/weir.ts';
import { type Failure, toFailure } from './failure.ts';
import { createFanout } from './fanout/fanout.ts';
import { type Listeners, openListeners } from './listeners.ts';
import { createNodeStatistics } from './node-statistics.ts';
import { createEventLoopMeter } from './observability/event-loop.ts';
import type { Logger } from './observability/logger.ts';
import { closeCodeLabel } from './observability/metrics.ts';
import { createMetricsRegistry } from './observability/registry.ts';
import { weightByUse } from './overload/agent-check.ts';
import { createProtection } from './protection.ts';
import { runCommand } from './session/commands/run-command.ts';
import { Connection, type ConnectionHost } from './session/connection.ts';
import { createAdmitting } from './session/admitting.ts';
import { createDeadlines } from './session/deadlines.ts';
import { createDirectory } from './session/directory.ts';
import { createExpiry } from './session/expiry.ts';
import { createManaging } from './session/managing.ts';
import { createMoving } from './session/moving.ts';
import { createRevoking } from './session/revoking.ts';
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
/** Weight of the newest of the samples taken at `ANNOUNCE_MS`, by which a node's use is smoothed. */
const USE_SMOOTHING = 0.2;
/** Time kept back from the drain timeout for the broker and the process to end, ms. */
const SHUTDOWN_RESERVE_MS = 1000;
/** What a client is given to refresh a token that is over, ms (protocol §9). */
const EXPIRY_GRACE_MS = 25_000;
/** Part of the time nodes wait for one another in which an explained connection is watched. */
const SAMPLES_PER_TIMEOUT = 4;
/** Connections told about the broker between two turns of the event loop. */
const STATUS_PACE = { size: 500, pauseMs: 0 } as const;
/** Heartbeats looked at between two turns of the event loop. */
const HEARTBEAT_PACE = { size: 250, pauseMs: 0 } as const;
/** The engine's own buffer bound over ours: ours must act first, because the engine's drops in silence. */
const ENGINE_BACKPRESSURE_FACTOR = 4;

export const createNode = ({ config, broker, clock, ids, logger, version }: NodeOptions): Node => {
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

  const protection = createProtection({
    config,
    clock,
    metrics,
    logger,
    loop,
    connections,
    shrinkRings: (maxBytes) => fanout.shrinkRings(maxBytes),
  });
  const { overload, budget } = protection;
  const fanout = createFanout({
    broker,
    clock,
    metrics,
    boundsOf: (channel) => namespaceOf(channel).history,
    limitsOf: namespaceOf,
    delayMs: protection.delayMs,
    maxChannelBytes: config.maxRingBytes,
    maxTotalBytes: () => budget.ringAllowance,
    onCharged: protection.onCharged,
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
    graceMs: EXPIRY_GRACE_MS,
    onExpired: (connection) => connection.close(closeCodes.tokenExpired.code, closeCodes.tokenExpired.name),
  });
  const revocations = createRevocations(clock);
  metrics.gauge('weir_revocations', () => revocations.size);
  const tokens = openTokens({ config, clock, metrics, logger });

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
    // How far from overload, and how near to the bound on connections.
    weight: () => Math.min(overload.weight(), weightByUse(smoothedUse, connections.size, config.maxConnections)),
    admissionPerSecond: () => Math.min(ADMISSION_PER_SECOND, Math.max(0, config.maxConnections - connections.size)),
  });
  const announce = (): void => {
    statistics.sample();
    if (kicksAnybody) fanout.kick();
    smoothedUse += USE_SMOOTHING * (loop.utilisation - smoothedUse);
    if (stage === 'serving') moving.look();
    if (broker.health().state === 'ready') revoking.look();
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
    expiry.close();
    tokens.close();
    fanout.close();
    protection.close();
    loop.close();
    await broker.close();
    logger.info({ event: 'stopped' }, 'stopped');
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
      const started = broker.start(backplane.events);
      // Nobody is let in before it is known who may not.
      void started.then(synchroniseRevocations).then(
        () => {
          if (stage !== 'starting') return;
          stage = 'serving';
          backplane.start();
          protection.start();
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
