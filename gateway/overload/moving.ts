// Everything that asks clients to move to another connection: drain, deafness, age and balance, with one account of who was asked.
import type { ControlBus } from '../../broker/control.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Logger } from '../observability/logger.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { Connection } from '../session/connection.ts';
import { createDeafMoving } from './deaf-moving.ts';
import { createDepartures } from './departures.ts';
import { createDrain, type Drain } from './drain.ts';
import { createMaxAge } from './max-age.ts';
import { createRebalance } from './rebalance.ts';
import type { MoveTimes } from './spread.ts';

export interface MovingOptions {
  readonly config: Config;
  readonly control: Pick<ControlBus, 'nodes'>;
  readonly connections: Iterable<Connection> & { readonly size: number };
  /** Undefined while the node hears. */
  readonly deafForMs: () => number | undefined;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly onAsked: (connection: Connection) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Moving {
  readonly drain: Drain;
  handleOpened(connection: Connection): void;
  handleClosed(connection: Connection): void;
  /** A node that is overloaded asks a connection that does nothing to leave. */
  handleIdle(connection: Connection, times: MoveTimes): void;
  /** Repeated about once a second while the node serves. */
  look(): void;
  close(): void;
}

export const createMoving = (options: MovingOptions): Moving => {
  const { config, clock, metrics } = options;
  const departures = createDepartures({ clock, metrics, onAsked: options.onAsked });
  const shared = { ...options, nodeName: config.nodeName, settings: config, departures };
  const maxAge = createMaxAge(shared);
  const deafMoving = createDeafMoving(shared);
  const rebalance = createRebalance(shared);

  metrics.gauge('weir_connections_moving', () => departures.size);
  metrics.gauge('weir_moves_per_second_limit', () => config.movesPerSecond);
  metrics.gauge('weir_admission_per_second', () => config.admissionPerSecond);

  return {
    drain: createDrain(shared),
    handleOpened: maxAge.handleOpened,
    handleClosed: departures.handleClosed,
    handleIdle: (connection, times) => departures.ask(connection, times, 'overloaded'),
    look() {
      deafMoving.look();
      maxAge.look();
      if (config.rebalance) rebalance.look();
    },
    close: departures.close,
  };
};
