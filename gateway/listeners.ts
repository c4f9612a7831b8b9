// The node's listeners: which paths are served on which port.
import type { Broker } from '../broker/broker.ts';
import type { DrainAnswer, Health, NodeStats } from '../protocol/http.ts';
import { createApiKeyAttempts } from './access/api-key-attempts.ts';
import { createApiKeyLimits } from './access/limits/api-key-limits.ts';
import type { ApiKeys } from './access/api-keys.ts';
import { createClientAddress } from './access/client-address.ts';
import { createHostCheck } from './access/host.ts';
import type { ApiRoute } from './api/api-route.ts';
import { createAuditLog } from './api/audit-log.ts';
import { createClusterConnections } from './api/cluster-connections.ts';
import { createConnectionRoutes } from './api/connections.ts';
import { createChannelRoutes } from './api/channels.ts';
import { createClusterView } from './api/cluster-view.ts';
import { createConsoleRoutes } from './api/console.ts';
import { createDrainRoute } from './api/drain.ts';
import { laterApiRoutes, laterClientRoutes } from './api/later.ts';
import { createOperationRoutes } from './api/operations.ts';
import { createPublishRoutes } from './api/publish.ts';
import { serveApi } from './api/serve.ts';
import type { UnderWay } from './api/under-way.ts';
import { upgradeHelpRoutes } from './api/upgrade-help.ts';
import type { Publishing } from './channels/publishing.ts';
import type { HistoryReading } from './channels/reading.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import type { Failure } from './failure.ts';
import type { ByteBudget } from './fanout/byte-budget.ts';
import type { Hub } from './fanout/hub.ts';
import { auditLoggerOf, type Logger } from './observability/logger.ts';
import type { Managing } from './session/managing.ts';
import type { Revoking } from './session/revoking.ts';
import type { MetricsRegistry } from './observability/registry.ts';
import {
  boundHttpSockets,
  createApp,
  type Listener,
  listen,
  type TemplatedApp,
  type Tls,
} from './transports/engine.ts';
import { serveEcho } from './transports/echo.ts';
import type { InboundReserve } from './transports/inbound-reserve.ts';
import { serveWebSocket, type WebSocketOptions } from './transports/websocket.ts';

export interface ListenersOptions {
  readonly config: Config;
  readonly apiKeys: ApiKeys;
  readonly broker: Broker;
  readonly hub: Hub;
  readonly publishing: Publishing;
  readonly reading: HistoryReading;
  readonly managing: Managing;
  readonly revoking: Revoking;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ownStats: () => NodeStats;
  readonly health: () => Health;
  readonly drain: (timeoutMs: number | undefined) => Promise<DrainAnswer>;
  readonly toFailure: (thrown: unknown) => Failure;
  readonly webSocket: WebSocketOptions;
  /** Delay after which a publisher may try again, ms; undefined: its request is taken. */
  readonly refusePublish: () => number | undefined;
  /** Bodies count as long as they are worked on. */
  readonly budget: Pick<ByteBudget<never>, 'isFull' | 'charge'>;
  readonly inbound: InboundReserve;
  /** Told about every API request that is being worked on. */
  readonly requests: Pick<UnderWay, 'track'>;
}

export interface Listeners {
  readonly port: number;
  readonly internalPort: number | undefined;
  /** Hands a text frame to every socket that joined the topic. */
  publish(topic: string, frame: Buffer): void;
  /** Stops accepting; open sockets stay. */
  close(): void;
}

/** Two years: browsers that came by TLS once come no other way. */
const HSTS = 'max-age=63072000';

const tlsOf = ({ tlsCertFile, tlsKeyFile, tlsKeyPassphrase }: Config): Tls | undefined =>
  tlsCertFile === undefined || tlsKeyFile === undefined
    ? undefined
    : { certFile: tlsCertFile, keyFile: tlsKeyFile, passphrase: tlsKeyPassphrase };

/** Rejects when a port cannot be had; nothing listens then. */
export const openListeners = async (options: ListenersOptions): Promise<Listeners> => {
  const { config, apiKeys, broker, hub, publishing, reading, metrics, health, toFailure, ownStats } = options;
  const attempts = createApiKeyAttempts({
    clock: options.clock,
    maxFailures: config.apiKeyMaxFailures,
    windowMs: config.apiKeyFailureWindowMs,
  });
  const audit = createAuditLog(auditLoggerOf(options.logger));
  const clientAddress = createClientAddress(config.trustedProxies);
  const cluster = createClusterView({ control: broker.control, hub, ownStats, timeoutMs: config.controlTimeoutMs });
  const nowMs = () => options.clock.monotonicMs();
  const apiKeyLimits = createApiKeyLimits(config.maxApiKeyPublishRate, { metrics, nowMs });
  const connections = createClusterConnections({
    control: broker.control,
    managing: options.managing,
    timeoutMs: config.controlTimeoutMs,
    toFailure,
  });
  const serverApi = [
    ...createPublishRoutes({ publishing, cluster, apiKeyLimits, toFailure }),
    ...createChannelRoutes({ history: broker.history, reading, cluster }),
    ...createConnectionRoutes({
      connections,
      revoking: options.revoking,
      nowMs: () => options.clock.nowMs(),
      revocationTtlMs: config.revocationTtlMs,
    }),
    createDrainRoute({ nodeName: config.nodeName, control: broker.control, drain: options.drain }),
    ...laterApiRoutes,
  ];
  const operations = (openMetrics: boolean) => createOperationRoutes({ cluster, metrics, health, openMetrics });
  const forClients = [
    ...upgradeHelpRoutes,
    ...laterClientRoutes,
    ...(config.profile === 'development' ? createConsoleRoutes() : []),
  ];

  const serve = (app: TemplatedApp, routes: readonly ApiRoute[], headers: Readonly<Record<string, string>>): void =>
    serveApi(app, routes, {
      headers,
      apiKeys,
      attempts,
      clientAddress,
      audit,
      metrics,
      toFailure,
      acceptsHost: createHostCheck(config.allowedHosts),
      maxBodyBytes: config.maxBodyBytes,
      requestTimeoutMs: config.requestTimeoutMs,
      nowMs,
      underWay: options.requests,
      refusePublish: options.refusePublish,
      mayKeep(bytes) {
        if (options.budget.isFull) {
          metrics.count('weir_budget_relief_total', { measure: 'refused' });
          return false;
        }
        options.budget.charge('requests', bytes);
        return true;
      },
      onReleased: (bytes) => options.budget.charge('requests', -bytes),
    });

  const opened: Listener[] = [];
  const close = (): void => {
    for (const listener of opened.splice(0)) listener.close();
  };
  const open = async (app: TemplatedApp, port: number): Promise<number> => {
    try {
      const listener = await listen(app, config.host, port);
      opened.push(listener);
      return listener.port;
    } catch (error) {
      // Half a node would keep the process alive and serve nobody.
      close();
      throw error;
    }
  };

  const tls = tlsOf(config);
  const clientHeaders: Readonly<Record<string, string>> =
    tls === undefined ? {} : { 'strict-transport-security': HSTS };
  const newApp = (max: number, files?: Tls): TemplatedApp => {
    const made = createApp(files);
    const onRefused = () => metrics.count('weir_connections_refused_total', { reason: 'http_sockets' });
    boundHttpSockets(made, options.inbound, { max, onRefused });
    return made;
  };
  const app = newApp(config.maxHttpSockets, tls);
  serveWebSocket(app, '/v1/ws', options.webSocket);
  if (config.conformanceEcho) serveEcho(app, '/v1/echo', options.webSocket);
  const publish = (topic: string, frame: Buffer): void => void app.publish(topic, frame, false);
  if (config.internalPort === undefined) {
    serve(app, [...serverApi, ...operations(false), ...forClients], clientHeaders);
    return { port: await open(app, config.port), internalPort: undefined, publish, close };
  }
  const healthOnly = operations(false).filter(({ path }) => path.startsWith('/health/'));
  serve(app, [...healthOnly, ...forClients], clientHeaders);
  // A flood on the public port must not keep those out who look after the node.
  const internal = newApp(Infinity);
  serve(internal, [...serverApi, ...operations(true)], {});
  const internalPort = await open(internal, config.internalPort);
  return { port: await open(app, config.port), internalPort, publish, close };
};
