// What the node knows of its way to the backplane, and who is told: readiness, clients, log, metrics.
//
// `ready` means more than a link: after an interruption every channel has been compared with the broker and healed.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import type { Hub } from './fanout/hub.ts';
import type { Logger } from './observability/logger.ts';
import type { MetricsRegistry } from './observability/registry.ts';

export type BackplaneSummary = { readonly state: 'ready' } | { readonly state: 'degraded'; readonly reason: string };

export interface BackplaneState {
  readonly events: BrokerEvents;
  readonly summary: () => BackplaneSummary;
}

export interface BackplaneStateOptions {
  readonly broker: Broker;
  readonly hub: Hub;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly onError: BrokerEvents['onError'];
  /** The state in `summary` changed; not called for a change of the reason alone. */
  readonly onChanged: (state: BackplaneSummary['state']) => void;
}

export const createBackplaneState = (options: BackplaneStateOptions): BackplaneState => {
  const { broker, hub, metrics, logger, onError, onChanged } = options;
  let interruptions = 0;
  /** The newest interruption whose losses are healed or receipted. */
  let healed = 0;
  let told: BackplaneSummary['state'] = 'degraded';

  const summary = (): BackplaneSummary => {
    const health = broker.health();
    if (health.state === 'degraded')
      return { state: 'degraded', reason: `broker ${health.affected}: ${health.reason}` };
    return healed === interruptions
      ? { state: 'ready' }
      : { state: 'degraded', reason: 'broker: healing what was missed' };
  };
  const tell = (): void => {
    const { state } = summary();
    if (state === told) return;
    told = state;
    onChanged(state);
  };

  const events: BrokerEvents = {
    onPublications: (run) => hub.handlePublications(run),
    onInterrupted(reason) {
      metrics.count('weir_broker_interruptions_total');
      logger.warn({ event: 'broker_interrupted', reason }, 'publications may be missed until the broker is back');
      interruptions++;
      tell();
    },
    onRestored() {
      logger.info({ event: 'broker_restored' }, 'comparing every channel with the broker');
      const current = interruptions;
      void hub.handleRestored().then(() => {
        healed = current;
        logger.info({ event: 'broker_healed' }, 'every channel is up to date');
        tell();
      });
    },
    onHealth(health) {
      logger.info({ event: 'broker_health', ...health }, `broker is ${health.state}`);
      tell();
    },
    onError,
  };
  return { events, summary };
};
