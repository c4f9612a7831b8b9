// One process's life: wires the rooms together, starts, serves, drains, stops.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { closeCodes } from '../protocol/codes.ts';
import type { Health, NodeStats } from '../protocol/http.ts';
import { createAccess } from './access/access.ts';
import { createApiKeys } from './access/api-keys.ts';
import { createClientAddress } from './access/client-address.ts';
import { createOriginCheck } from './access/origin.ts';
import type { ApiRoute } from './api/api-route.ts';
import { createChannelRoutes } from './api/channels.ts';
import { createClusterView } from './api/cluster-view.ts';
import { createConsoleRoutes } from './api/console.ts';
import { createHandshakeCheck } from './api/handshake.ts';
import { laterApiRoutes, laterClientRoutes } from './api/later.ts';
import { createOperationRoutes } from './api/operations.ts';
import { createPublishRoutes } from './api/publish.ts';
import { serveApi } from './api/serve.ts';
import { upgradeHelpRoutes } from './api/upgrade-help.ts';
import { createPublishing } from './channels/publishing.ts';
import { createHistoryReading } from './channels/reading.ts';
import type { Clock, IdSource } from './clock.ts';
import { type Config, namespaceOfChannel } from './config.ts';
import { weirDialect } from './dialects/weir.ts';
import { type Failure, toFailure } from './failure.ts';
import { coalesceDelayMs } from './fanout/coalescing.ts';
import { createDispatcher } from './fanout/dispatcher.ts';
import { createHub } from './fanout/hub.ts';
import { createEventLoopMeter } from './observability/event-loop.ts';
import type { Logger } from './observability/logger.ts';
import { createRateMeter } from './observability/rates.ts';
import { createMetricsRegistry } from './observability/registry.ts';
import { runCommand } from './session/commands/run-command.ts';
import { Connection, type ConnectionHost } from './session/connection.ts';
import { createDeadlines } from './session/deadlines.ts';
import type { SessionServices } from './session/services.ts';
import { closingPace, visitInSlices } from './session/slices.ts';
import { createApp, type Listener, listen } from './transports/engine.ts';
import { serveWebSocket } from './transports/websocket.ts';

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
/** The engine's own buffer bound over ours: ours must act first, because the engine's drops in silence. */
const ENGINE_BACKPRESSURE_FACTOR = 4;

export const createNode = ({ config, broker, clock, ids, logger, version }: NodeOptions): Node => {
  const metrics = createMetricsRegistry();
  const loop = createEventLoopMeter();
  const connections = new Set<Connection>();
  const pendingRequests = new Set<Promise<unknown>>();
  const namespaceOf = (channel: string) => namespaceOfChannel(config, channel);
  const startedAtMs = clock.monotonicMs();
  let stage: 'starting' | 'serving' | 'draining' | 'stopped' = 'starting';
  let listeners: Listener[] = [];
  let announcer: NodeJS.Timeout | undefined;

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

  const dispatcher = createDispatcher({
    clock,
    metrics,
    maxOutboxBytes: config.maxOutboxBytes,
    delayMs: () => coalesceDelayMs(loop.utilisation, config.coalesceMaxMs),
  });
  const boundsOf = (channel: string) => namespaceOf(channel).history;
  const hub = createHub({ broker, dispatcher, metrics, boundsOf, onError });
  const publishing = createPublishing({ broker, namespaceOf, metrics, clock });
  const reading = createHistoryReading(broker, namespaceOf);
  const brokerState = () => broker.health().state;

  const health = (): Health => {
    const { nodeName: node } = config;
    const state = broker.health();
    if (stage === 'draining' || stage === 'stopped') return { status: 'draining', reasons: ['draining'], node };
    if (state.state === 'degraded') {
      return { status: 'not_ready', reasons: [`broker ${state.affected}: ${state.reason}`], node };
    }
    if (stage === 'starting') return { status: 'not_ready', reasons: ['starting'], node };
    return { status: 'ready', reasons: [], node };
  };

  const deadlines = createDeadlines<Connection>({
    clock,
    lengthMs: config.connectDeadlineMs,
    isDue: (connection) => connection.state === 'open',
    onExpired: (connection) => connection.close(closeCodes.noConnect.code, closeCodes.noConnect.name),
  });

  const services: SessionServices = {
    settings: config,
    hub,
    access: createAccess(namespaceOf),
    publishing,
    reading,
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
    onClosed(connection, code) {
      connections.delete(connection);
      metrics.count('weir_connections_closed_total', { code: String(code) });
      logger.debug({ event: 'disconnect', connection: connection.id, code }, 'connection closed');
    },
  };

  const bufferedBytes = (): number => {
    let sum = 0;
    for (const connection of connections) sum += connection.bufferedBytes();
    return sum;
  };
  const rateMeter = createRateMeter(clock, () => ({
    publications: metrics.hot.published,
    deliveries: metrics.hot.deliveries,
    connects: metrics.hot.connectionsOpened,
  }));
  const ownStats = (): NodeStats => ({
    node: config.nodeName,
    connections: connections.size,
    subscriptions: hub.subscriptionCount,
    channels: hub.channelCount,
    rates: rateMeter.rates,
    broker: brokerState(),
    state: stage === 'draining' ? 'draining' : health().status === 'ready' ? 'ready' : 'not_ready',
    version,
    uptimeMs: Math.round(clock.monotonicMs() - startedAtMs),
    bufferedBytes: bufferedBytes(),
    rssBytes: process.memoryUsage.rss(),
    eventLoopLagMs: loop.lagMs,
  });

  metrics.gauge('weir_node_info', () => [
    { labels: { node: config.nodeName, version, profile: config.profile }, value: 1 },
  ]);
  metrics.gauge('weir_node_ready', () => (health().status === 'ready' ? 1 : 0));
  metrics.gauge('weir_node_draining', () => (stage === 'draining' ? 1 : 0));
  metrics.gauge('weir_connections', () => connections.size);
  metrics.gauge('weir_subscriptions', () => hub.subscriptionCount);
  metrics.gauge('weir_channels', () => hub.channelCount);
  metrics.gauge('weir_coalesce_delay_seconds', () => dispatcher.currentDelayMs / 1000);
  metrics.gauge('weir_outbox_bytes', bufferedBytes);
  metrics.gauge('weir_broker_ready', () => (brokerState() === 'ready' ? 1 : 0));
  metrics.gauge('weir_event_loop_lag_seconds', () =>
    Object.entries(loop.takeLag()).map(([quantile, value]) => ({ labels: { quantile }, value })),
  );
  metrics.gauge('weir_event_loop_utilization', () => loop.utilisation);
  metrics.gauge('weir_memory_budget_bytes', () => config.memoryBudgetBytes);

  const broadcastStatus = (): void => {
    const state = brokerState();
    void visitInSlices(connections, STATUS_PACE, (connection) => {
      // Overtaken by a later change: that one tells the rest.
      if (connection.state === 'connected' && brokerState() === state)
        connection.send({ type: 'status', broker: state });
    });
  };
  const events: BrokerEvents = {
    onPublications: (run) => hub.handlePublications(run),
    onInterrupted(reason) {
      metrics.count('weir_broker_interruptions_total');
      logger.warn({ event: 'broker_interrupted', reason }, 'publications may be missed until the broker is back');
    },
    onRestored() {
      logger.info({ event: 'broker_restored' }, 'comparing every channel with the broker');
      hub.handleRestored();
    },
    onHealth(state) {
      logger.info({ event: 'broker_health', ...state }, `broker is ${state.state}`);
      broadcastStatus();
    },
    onError,
  };

  const serve = (app: ReturnType<typeof createApp>, routes: readonly ApiRoute[]): void =>
    serveApi(app, routes, {
      apiKeys,
      metrics,
      toFailure: failureOf,
      maxBodyBytes: config.maxBodyBytes,
      requestTimeoutMs: config.requestTimeoutMs,
      nowMs: () => clock.monotonicMs(),
      pending: pendingRequests,
    });
  const apiKeys = createApiKeys(config.apiKeys);

  const listenAll = async (): Promise<{ port: number; internalPort: number | undefined }> => {
    const cluster = createClusterView({ control: broker.control, hub, ownStats, timeoutMs: config.controlTimeoutMs });
    const serverApi = [
      ...createPublishRoutes({ publishing, cluster, toFailure: failureOf }),
      ...createChannelRoutes({ history: broker.history, reading, cluster }),
      ...laterApiRoutes,
    ];
    const operations = (openMetrics: boolean) => createOperationRoutes({ cluster, metrics, health, openMetrics });
    const clientRoutes = [...upgradeHelpRoutes, ...laterClientRoutes];
    const consoleRoutes = config.profile === 'development' ? createConsoleRoutes() : [];

    const app = createApp();
    serveWebSocket(app, '/v1/ws', {
      maxFrameBytes: config.maxFrameBytes,
      maxBackpressureBytes: config.maxOutboxBytes * ENGINE_BACKPRESSURE_FACTOR,
      pingIntervalMs: config.pingIntervalMs,
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
    });
    if (config.internalPort === undefined) {
      serve(app, [...serverApi, ...operations(false), ...clientRoutes, ...consoleRoutes]);
    } else {
      const health = operations(false).filter(({ path }) => path.startsWith('/health/'));
      serve(app, [...health, ...clientRoutes, ...consoleRoutes]);
      const internal = createApp();
      serve(internal, [...serverApi, ...operations(true)]);
      listeners.push(await listen(internal, config.host, config.internalPort));
    }
    const internalPort = listeners[0]?.port;
    const listener = await listen(app, config.host, config.port);
    listeners.push(listener);
    return { port: listener.port, internalPort };
  };

  const closeListeners = (): void => {
    for (const listener of listeners) listener.close();
    listeners = [];
  };

  const announce = (): void => {
    rateMeter.sample();
    broker.control.announce({ version }).catch((error: unknown) => onError(error as Error, { stage: 'announce' }));
  };

  return {
    health,
    async start() {
      const ports = await listenAll().catch((error: unknown) => {
        // Half a node would keep the process alive and serve nobody.
        closeListeners();
        throw error;
      });
      void broker.start(events).then(
        () => {
          if (stage !== 'starting') return;
          stage = 'serving';
          announce();
          announcer = setInterval(announce, ANNOUNCE_MS);
          logger.info({ event: 'ready', ...ports }, 'node is ready');
        },
        (error: unknown) => onError(error as Error, { stage: 'start' }),
      );
      return ports;
    },
    async drain() {
      if (stage === 'draining' || stage === 'stopped') return;
      stage = 'draining';
      logger.info({ event: 'drain', connections: connections.size }, 'draining');
      const { code, name } = closeCodes.restart;
      const pace = closingPace(connections.size, config.drainTimeoutMs - SHUTDOWN_RESERVE_MS);
      await visitInSlices(connections, pace, (connection) => connection.close(code, name));
      // What was accepted is answered before the broker goes; its own timeout bounds the wait.
      await Promise.allSettled(pendingRequests);
      stage = 'stopped';
      clearInterval(announcer);
      closeListeners();
      deadlines.close();
      hub.close();
      dispatcher.close();
      loop.close();
      await broker.close();
      logger.info({ event: 'stopped' }, 'stopped');
    },
  };
};
