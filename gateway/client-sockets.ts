// The sockets of clients: which upgrades are taken, and what an open socket becomes.
import { createClientAddress } from './access/client-address.ts';
import { createHostCheck } from './access/host.ts';
import { createOriginCheck } from './access/origin.ts';
import { createHandshakeCheck } from './api/handshake.ts';
import type { Config } from './config.ts';
import { weirDialect } from './dialects/weir.ts';
import type { MetricsRegistry } from './observability/registry.ts';
import { Connection, type ConnectionHost } from './session/connection.ts';
import type { Directory } from './session/directory.ts';
import type { Heartbeats } from './transports/heartbeat.ts';
import type { InboundReserve } from './transports/inbound-reserve.ts';
import type { WebSocketOptions } from './transports/websocket.ts';

/** Delay named to clients that meet a full or draining node, ms; SDKs add jitter. */
const REFUSED_RETRY_MS = 1000;
/** The engine's own buffer bound over ours: ours must act first, because the engine's drops in silence. */
const ENGINE_BACKPRESSURE_FACTOR = 4;

export interface ClientSocketsOptions {
  readonly config: Config;
  readonly metrics: MetricsRegistry;
  readonly connections: Directory;
  readonly heartbeats: Heartbeats;
  readonly inbound: InboundReserve;
  readonly host: ConnectionHost;
  /** The stage of the node's life in which it takes nobody; undefined: it does. */
  readonly refusedStage: () => 'starting' | 'draining' | 'stopped' | undefined;
  /** Delay after which who is not let in may come again, ms; undefined: there is room. */
  readonly refusalOfUpgrade: () => number | undefined;
  readonly onOpened: (connection: Connection) => void;
}

export const createClientSockets = (options: ClientSocketsOptions): WebSocketOptions => {
  const { config, metrics, connections, heartbeats, inbound, host, refusedStage, refusalOfUpgrade, onOpened } = options;
  return {
    maxFrameBytes: config.maxFrameBytes,
    maxBackpressureBytes: config.maxOutboxBytes * ENGINE_BACKPRESSURE_FACTOR,
    heartbeats,
    inbound,
    maxControlBacklogBytes: config.maxOutboxBytes,
    onHandshake: createHandshakeCheck({
      acceptsHost: createHostCheck(config.allowedHosts),
      checkOrigin: createOriginCheck(config.allowedOrigins),
      clientAddress: createClientAddress(config.trustedProxies),
      metrics,
      refusal: () => {
        const stage = refusedStage();
        if (stage !== undefined) return { reason: stage, retryAfterMs: REFUSED_RETRY_MS };
        const isFull = connections.size >= config.maxConnections || (config.strictMemoryBudget && !inbound.mayUpgrade);
        if (isFull) return { reason: 'full', retryAfterMs: REFUSED_RETRY_MS };
        const retryAfterMs = refusalOfUpgrade();
        return retryAfterMs === undefined ? undefined : { reason: 'crowded', retryAfterMs };
      },
    }),
    onOpen(socket, address) {
      const connection = new Connection(socket, weirDialect, address, host);
      connections.add(connection);
      metrics.hot.connectionsOpened++;
      onOpened(connection);
      return connection;
    },
  };
};
