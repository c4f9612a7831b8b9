// The life of a connection on the node: opened, let in, kept awake, asked to move, closed; who has to know of each.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { closeCodes } from '../protocol/codes.ts';
import type { BackplaneState } from './backplane-state.ts';
import { createClientSockets } from './client-sockets.ts';
import type { Clock, IdSource } from './clock.ts';
import type { CommandServices } from './command-services.ts';
import type { Config } from './config.ts';
import type { Failure } from './failure.ts';
import type { Fanout } from './fanout/fanout.ts';
import type { Logger } from './observability/logger.ts';
import { closeCodeLabel } from './observability/metrics.ts';
import type { MetricsRegistry } from './observability/registry.ts';
import { createAdmitting } from './overload/admitting.ts';
import { createMoving, type Moving } from './overload/moving.ts';
import type { Protection } from './protection.ts';
import type { Stage } from './readiness.ts';
import { runCommand } from './session/commands/run-command.ts';
import type { Connection, ConnectionHost } from './session/connection.ts';
import { createDeadlines } from './session/deadlines.ts';
import type { Directory } from './session/directory.ts';
import { visitInSlices } from './session/slices.ts';
import { createHeartbeats } from './transports/heartbeat.ts';
import type { WebSocketOptions } from './transports/websocket.ts';

export interface ConnectionLifeOptions {
  readonly config: Config;
  readonly broker: Pick<Broker, 'control'>;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly connections: Directory;
  readonly protection: Protection;
  readonly fanout: Pick<Fanout, 'hub' | 'handleDrain'>;
  readonly backplane: Pick<BackplaneState, 'deafForMs'>;
  readonly commands: Omit<CommandServices, 'managing' | 'revoking' | 'hooks'>;
  readonly stage: () => Stage;
  readonly toFailure: (thrown: unknown, where: Readonly<Record<string, string>>) => Failure;
  readonly onError: BrokerEvents['onError'];
}

export interface ConnectionLife {
  readonly moving: Moving;
  readonly webSocket: WebSocketOptions;
  /** Begins to look whether those who are silent are still there. */
  start(): void;
  close(): void;
}

/** Heartbeats looked at between two turns of the event loop. */
const HEARTBEAT_PACE = { size: 250, pauseMs: 0 } as const;

export const createConnectionLife = (options: ConnectionLifeOptions): ConnectionLife => {
  const { config, broker, clock, ids, metrics, logger, connections, protection, fanout, stage, onError } = options;
  const { services, limits, sessions, expiry, lifecycle } = options.commands;
  const { budget, inbound } = protection;
  let pulse: NodeJS.Timeout | undefined;

  const admitting = createAdmitting({
    settings: config,
    metrics,
    nowMs: () => clock.monotonicMs(),
    enterNetwork: ({ account, address }) => limits.enterNetwork(account, address),
    run: (connection, command) => runCommand(connection, command, services),
  });
  const deadlines = createDeadlines<Connection>({
    clock,
    lengthMs: config.connectDeadlineMs,
    isDue: (connection) => connection.state === 'open' && !admitting.isEntering(connection),
    onExpired: (connection) => connection.close(closeCodes.noConnect.code, closeCodes.noConnect.name),
  });
  const moving = createMoving({
    config,
    control: broker.control,
    connections,
    deafForMs: options.backplane.deafForMs,
    random: Math.random,
    clock,
    metrics,
    logger,
    onAsked: (connection) => sessions.handleChanged(connection),
    onError,
  });
  const heartbeats = createHeartbeats({
    intervalMs: config.pingIntervalMs,
    maxStretch: config.pingMaxStretch,
    maxStallMs: config.maxStallMs,
    random: Math.random,
    counters: metrics.hot,
  });

  const host: ConnectionHost = {
    metrics,
    ids,
    limits,
    clock,
    maxFrameBytes: config.maxFrameBytes,
    maxOutboxBytes: config.maxOutboxBytes,
    run: (connection, command) => admitting.run(connection, command),
    toFailure: (connection, thrown) => options.toFailure(thrown, { connection: connection.id }),
    unsubscribe: (subscription) => fanout.hub.unsubscribe(subscription),
    ...protection.host,
    onDrain: (connection) => protection.handleDrain(connection) || fanout.handleDrain(connection),
    onClosing: (connection, code) => sessions.handleClosing(connection, code),
    onClosed(connection, code) {
      connections.delete(connection);
      admitting.handleClosed(connection);
      limits.leave(connection.account);
      budget.forget(connection);
      expiry.cancel(connection);
      moving.handleClosed(connection);
      lifecycle.disconnected(connection.id, code);
      metrics.count('weir_connections_closed_total', { code: closeCodeLabel(code) });
      logger.debug({ event: 'disconnect', connection: connection.id, code }, 'connection closed');
    },
  };

  const webSocket = createClientSockets({
    config,
    metrics,
    connections,
    heartbeats,
    inbound,
    host,
    refusedStage() {
      const now = stage();
      // Until the load balancer has noticed, who comes is told to move on, which is gentler than a refusal.
      const isNoticing = now === 'draining' && moving.drain.isNoticing;
      return now === 'serving' || isNoticing ? undefined : now;
    },
    refusalOfUpgrade: () => admitting.refusalOfUpgrade(),
    onOpened(connection) {
      admitting.handleOpened(connection);
      moving.handleOpened(connection);
      deadlines.add(connection);
    },
  });

  return {
    moving,
    webSocket,
    start() {
      pulse = setInterval(
        () => void visitInSlices(heartbeats.tick(), HEARTBEAT_PACE, (beat) => beat.look()),
        heartbeats.tickMs,
      );
    },
    close() {
      clearInterval(pulse);
      deadlines.close();
      admitting.close();
      moving.close();
    },
  };
};
