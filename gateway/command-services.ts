// What answers the commands of clients and what the application asks of its connections: who they are, what they may, sessions, hooks.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { closeCodes } from '../protocol/codes.ts';
import { createAccess } from './access/access.ts';
import { createLimits, type Limits } from './access/limits/limits.ts';
import { createRevocations } from './access/revocations.ts';
import { openTokens, type Tokens } from './access/tokens/tokens.ts';
import type { ChannelTraffic } from './channel-traffic.ts';
import type { Clock, IdSource } from './clock.ts';
import type { Config } from './config.ts';
import type { NamespaceConfig } from './config/namespaces.ts';
import type { Failure } from './failure.ts';
import { createLifecycle, type Lifecycle } from './hooks/events/lifecycle.ts';
import { createHooks, type Hooks } from './hooks/hooks.ts';
import type { Logger } from './observability/logger.ts';
import type { MetricsRegistry } from './observability/registry.ts';
import type { Protection } from './protection.ts';
import { openSubscription } from './session/commands/subscribe.ts';
import type { Connection } from './session/connection.ts';
import { createContinuation } from './session/continuation/continuation.ts';
import { noSessions, type Sessions } from './session/continuation/sessions.ts';
import type { Directory } from './session/directory.ts';
import { createExpiry, type Expiry } from './session/expiry.ts';
import { createManaging, type Managing } from './session/managing.ts';
import { createRevoking, type Revoking } from './session/revoking.ts';
import type { SessionServices } from './session/services.ts';

export interface CommandServicesOptions {
  readonly config: Config;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly connections: Directory;
  readonly namespaceOf: (channel: string) => NamespaceConfig;
  readonly protection: Pick<Protection, 'overload' | 'budget'>;
  readonly traffic: Omit<ChannelTraffic, 'look'>;
  readonly toFailure: (thrown: unknown) => Failure;
  readonly onError: BrokerEvents['onError'];
}

export interface CommandServices {
  readonly services: SessionServices;
  readonly limits: Limits;
  readonly sessions: Sessions;
  readonly expiry: Expiry<Connection>;
  readonly tokens: Tokens;
  readonly hooks: Hooks;
  readonly lifecycle: Lifecycle;
  readonly managing: Managing;
  readonly revoking: Revoking;
}

/** Part of the time nodes wait for one another in which an explained connection is watched. */
const SAMPLES_PER_TIMEOUT = 4;

export const createCommandServices = (options: CommandServicesOptions): CommandServices => {
  const { config, broker, clock, ids, metrics, logger, connections, namespaceOf, traffic, toFailure, onError } =
    options;
  const { overload, budget } = options.protection;
  const { publishing, reading, backplane } = traffic;
  const { hub } = traffic.fanout;

  const expiry = createExpiry<Connection>({
    clock,
    graceMs: config.tokenExpiryGraceMs,
    onExpired: (connection) => connection.close(closeCodes.tokenExpired.code, closeCodes.tokenExpired.name),
  });
  const revocations = createRevocations(clock);
  metrics.gauge('weir_revocations', () => revocations.size);
  const tokens = openTokens({ config, clock, metrics, logger });
  const limits = createLimits({ settings: config, cluster: broker.limits, metrics, nowMs: () => clock.monotonicMs() });
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
          toFailure,
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
    brokerState: () => backplane.summary().state,
    toFailure,
  };
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
  return { services, limits, sessions, expiry, tokens, hooks, lifecycle, managing, revoking };
};
