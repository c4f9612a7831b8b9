// One process's life: wires the rooms together, starts, serves, drains, stops.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { closeCodes } from '../protocol/codes.ts';
import type { Health } from '../protocol/http.ts';
import { createAccess } from './access/access.ts';
import { createClientAddress } from './access/client-address.ts';
import { createOriginCheck } from './access/origin.ts';
import { createHandshakeCheck } from './api/handshake.ts';
import { createBackplaneState } from './backplane-state.ts';
import { createPublishing } from './channels/publishing.ts';
import { createHistoryReading } from './channels/reading.ts';
import type { Clock, IdSource } from './clock.ts';
import { type Config, namespaceOfChannel } from './config.ts';
import { weirDialect } from './dialects/weir.ts';
import { type Failure, toFailure } from './failure.ts';
import { coalesceDelayMs } from './fanout/coalescing.ts';
import { createFanout } from './fanout/fanout.ts';
import { createHooks } from './hooks/hooks.ts';
import { type Listeners, openListeners } from './listeners.ts';
import { createNodeStatistics } from './node-statistics.ts';
import { createEventLoopMeter } from './observability/event-loop.ts';
import type { Logger } from './observability/logger.ts';
import { closeCodeLabel } from './observability/metrics.ts';
import { createMetricsRegistry } from './observability/registry.ts';
import { runCommand } from './session/commands/run-command.ts';
import { Connection, type ConnectionHost } from './session/connection.ts';
import { createDeadlines } from './session/deadlines.ts';
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
/** Time kept back from the drain timeout for the broker and the process to end, ms. */
const SHUTDOWN_RESERVE_MS = 1000;
/** Connections told about the broker between two turns of the event loop. */
const STATUS_PACE = { size: 500, pauseMs: 0 } as const;
/** Heartbeats looked at between two turns of the event loop. */
const HEARTBEAT_PACE = { size: 250, pauseMs: 0 } as const;
/** Channel logs together may keep this part of the memory budget. */
const RINGS_PER_BUDGET = 2;
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

  const fanout = createFanout({
    broker,
    clock,
    metrics,
    boundsOf: (channel) => namespaceOf(channel).history,
    delayMs: () => coalesceDelayMs(loop.utilisation, config.coalesceMaxMs),
    publishNative: (topic, frame) => listeners?.publish(topic, frame),
    maxChannelBytes: config.maxRingBytes,
    maxTotalBytes: config.memoryBudgetBytes / RINGS_PER_BUDGET,
    onError,
  });
  const { hub } = fanout;
  const publishing = createPublishing({ broker, namespaceOf, metrics, clock });
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
    return { status: 'ready', reasons: [], node };
  };
  const nodeState = () => {
    const { status } = health();
    return status === 'ready' || status === 'draining' ? status : 'not_ready';
  };

  const deadlines = createDeadlines<Connection>({
    clock,
    lengthMs: config.connectDeadlineMs,
    isDue: (connection) => connection.state === 'open',
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
  const hooks = createHooks({ settings: config, nodeName: config.nodeName, clock, ids, random: Math.random, metrics });
  const services: SessionServices = {
    settings: config,
    hooks,
    hub,
    access: createAccess(namespaceOf),
    namespaceOf,
    publishing,
    reading,
    sessions,
    metrics,
    clock,
    brokerState,
  };
  const host: ConnectionHost = {
    metrics,
    ids,
    maxFrameBytes: config.maxFrameBytes,
    maxOutboxBytes: config.maxOutboxBytes,
    run: (connection, command) => runCommand(connection, command, services),
    toFailure: (connection, thrown) => failureOf(thrown, { connection: connection.id }),
    unsubscribe: (subscription) => hub.unsubscribe(subscription),
    onDrain: (connection) => fanout.handleDrain(connection),
    onClosing: (connection, code) => sessions.handleClosing(connection, code),
    onClosed(connection, code) {
      connections.delete(connection);
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
    onHandshake: createHandshakeCheck({
      checkOrigin: createOriginCheck(config.allowedOrigins),
      clientAddress: createClientAddress(config.trustedProxies),
      metrics,
      refusal: () => {
        if (stage !== 'serving') return { reason: stage, retryAfterMs: REFUSED_RETRY_MS };
        if (connections.size >= config.maxConnections) return { reason: 'full', retryAfterMs: REFUSED_RETRY_MS };
        return undefined;
      },
    }),
    onOpen(socket, address) {
      const connection = new Connection(socket, weirDialect, address, host);
      connections.add(connection);
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

  const announce = (): void => {
    statistics.sample();
    if (stage === 'serving') moving.look();
    const info = { version, ready: nodeState() === 'ready' };
    broker.control.announce(info).catch((error: unknown) => onError(error as Error, { stage: 'announce' }));
  };

  const drainOnce = async (): Promise<void> => {
    stage = 'draining';
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
    listeners?.close();
    deadlines.close();
    fanout.close();
    loop.close();
    hooks.close();
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
        pendingRequests,
      });
      const { port, internalPort } = listeners;
      pulse = setInterval(
        () => void visitInSlices(heartbeats.tick(), HEARTBEAT_PACE, (beat) => beat.look()),
        heartbeats.tickMs,
      );
      void broker.start(backplane.events).then(
        () => {
          if (stage !== 'starting') return;
          stage = 'serving';
          backplane.start();
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
