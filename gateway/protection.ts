// What keeps a node within its means: the memory budget and who gives way for it, and the overload ladder with its signals.
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { type BudgetPart, type ByteBudget, createByteBudget } from './fanout/byte-budget.ts';
import { createCoalescing, type FlushSample, type Wait } from './fanout/coalescing.ts';
import type { EventLoopMeter } from './observability/event-loop.ts';
import type { Logger } from './observability/logger.ts';
import type { HotCounters, MetricsRegistry } from './observability/registry.ts';
import { createOverload, type Overload } from './overload/overload.ts';
import { createBudgetKeeping } from './session/budget-keeping.ts';
import type { Connection, ConnectionHost } from './session/connection.ts';
import { createDismissal } from './session/dismissal.ts';
import { createInboundReserve, type InboundReserve } from './transports/inbound-reserve.ts';
import { createLingering } from './transports/lingering.ts';
import { createIdleMoving, type IdleMovingOptions } from './overload/idle-moving.ts';

export interface ProtectionOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly loop: EventLoopMeter;
  readonly connections: Iterable<Connection> & { readonly size: number };
  /** Trims all channel logs together to so much, bytes. */
  readonly shrinkRings: (maxBytes: number) => void;
  /** For how long some channel has had more than one flush could take, ms. */
  readonly backlogMs: () => number;
  /** Asks a connection that does nothing to leave. */
  readonly onIdle: IdleMovingOptions['onIdle'];
}

export interface Protection {
  readonly overload: Overload;
  readonly budget: ByteBudget<Connection>;
  readonly inbound: InboundReserve;
  /** How long the next flush waits. */
  wait(): Wait;
  /** What fan-out keeps for clients beside their outboxes grew or shrank by so much, bytes. */
  onCharged(part: BudgetPart, bytes: number): void;
  /** A connection's part in it. */
  readonly host: Pick<ConnectionHost, 'onHeld' | 'onDismissed' | 'mayLinger'>;
  /** The backlog of a connection shrank. Returns whether it is one that goes, and nobody else shall serve it. */
  handleDrain(connection: Connection): boolean;
  start(): void;
  close(): void;
}

/**
 * What an outbox takes of memory for each byte it holds: the engine appends to a string, which doubles and is copied, and the
 * allocator cannot use all of what lies between. Measured where clients come and go: `npm run bench -- --scenario budget`.
 */
const OUTBOX_FACTOR = 2.5;
/** Sockets that were told to end and have not left may hold this part of the memory budget; more are cut instead. */
const CLOSING_PER_BUDGET = 16;

/** What the loop does with its time, since the call before. */
const createLoadMeter = (clock: Clock, hot: HotCounters, loop: EventLoopMeter) => {
  const read = () => ({ ...hot, atMs: clock.monotonicMs() });
  let before = read();
  return (): FlushSample => {
    const now = read();
    const then = before;
    before = now;
    const passedMs = Math.max(1, now.atMs - then.atMs);
    const perMs = (name: keyof HotCounters): number => (now[name] - then[name]) / passedMs;
    return {
      // Catch-up takes what time there is and gives way to everything else: it is no sign that a node is full.
      busy: Math.max(0, loop.utilisation - perMs('catchingUpMs')),
      lagMs: loop.takeMeanLagMs(),
      flushing: Math.min(1, perMs('flushingMs')),
      flushes: perMs('flushes'),
      publications: perMs('publicationsReceived'),
      deliveries: perMs('deliveries'),
      frames: perMs('framesSent'),
    };
  };
};

export const createProtection = (options: ProtectionOptions): Protection => {
  const { config, clock, metrics, logger, loop, connections, shrinkRings, backlogMs, onIdle } = options;
  const budget = createByteBudget<Connection>(config.memoryBudgetBytes, OUTBOX_FACTOR);
  const dismissal = createDismissal(() => metrics.count('weir_budget_relief_total', { measure: 'cut' }));
  const keeping = createBudgetKeeping({ budget, metrics, shrinkRings, dismissal });
  const onCharged = (part: BudgetPart, bytes: number): void => {
    budget.charge(part, bytes);
    if (bytes > 0) keeping.handleGrowth();
  };
  const inbound = createInboundReserve({ ...config, onCharged: (bytes) => onCharged('inbound', bytes) });
  metrics.gauge('weir_inbound_worst_bytes', () => inbound.worstBytes);
  const closing = createLingering((bytes) => onCharged('closing', bytes));
  const idleMoving = createIdleMoving({
    connections,
    clock,
    idleMs: config.overloadIdleMs,
    moveTimeoutMs: config.moveTimeoutMs,
    movesPerSecond: config.admissionPerSecond,
    onIdle,
    random: Math.random,
  });
  const readLoad = createLoadMeter(clock, metrics.hot, loop);
  const coalescing = createCoalescing(config.coalesceMaxMs);
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
    publishWaitMs: config.overloadPublishMs,
    nextTurn: setImmediate,
    read() {
      const load = readLoad();
      coalescing.take(load);
      return {
        // What fan-out cannot send is late like what the loop has not read. One large burst shall not count for long.
        lag: Math.max(load.lagMs, Math.min(backlogMs(), 2 * config.overloadLagMs)),
        cpu: load.busy,
        memory: process.memoryUsage.rss(),
        buffered: budget.owedBytes - inbound.bytes,
      };
    },
    moveIdle: () => idleMoving.ask(),
  });
  const sayWhatIsCovered = (): void => {
    const { highestBytes, maxBytes } = inbound;
    if (highestBytes <= maxBytes) return;
    logger[config.profile === 'production' ? 'warn' : 'info'](
      { event: 'memory_overcommitted', highestBytes, coveredBytes: maxBytes },
      'the memory budget does not cover an unfinished message of every connection there may be',
    );
  };
  return {
    overload,
    budget,
    inbound,
    wait() {
      const fixedMs =
        config.coalesceMs ?? (overload.isEngaged('coalesce_longer') ? config.overloadCoalesceMs : undefined);
      return fixedMs === undefined ? coalescing.wait : { ms: fixedMs, publications: Infinity };
    },
    onCharged,
    host: {
      onHeld(connection, bytes) {
        budget.settle(connection, bytes);
        keeping.handleGrowth();
      },
      onDismissed: (connection) => dismissal.handleDismissed(connection),
      mayLinger(heldBytes) {
        const bytes = heldBytes * OUTBOX_FACTOR;
        if (bytes > 0 && closing.sum + bytes > config.memoryBudgetBytes / CLOSING_PER_BUDGET) return false;
        closing.add(bytes);
        return true;
      },
    },
    handleDrain: (connection) => dismissal.handleDrain(connection),
    start() {
      sayWhatIsCovered();
      overload.start();
      keeping.start();
    },
    close() {
      overload.close();
      keeping.close();
      dismissal.close();
      inbound.close();
      closing.close();
    },
  };
};
