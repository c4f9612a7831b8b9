// What the node knows of its way to the backplane, and who is told: readiness, clients, log, metrics.
//
// `ready` means more than a link: the node hears its canary, and after an interruption every channel has been compared
// with the broker and healed.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { canaryPrefixOf, createCanary } from './canary.ts';
import type { Clock } from './clock.ts';
import type { Hub } from './fanout/hub.ts';
import type { Logger } from './observability/logger.ts';
import type { MetricsRegistry } from './observability/registry.ts';

export type BackplaneSummary = { readonly state: 'ready' } | { readonly state: 'degraded'; readonly reason: string };

export interface BackplaneState {
  readonly events: BrokerEvents;
  readonly summary: () => BackplaneSummary;
  /** How long publications have been acknowledged and not heard, ms; undefined while the node hears. */
  readonly deafForMs: () => number | undefined;
  /** Begins to listen for canaries; the broker has started. */
  readonly start: () => void;
  readonly close: () => void;
}

export interface BackplaneStateOptions {
  readonly nodeName: string;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly hub: Hub;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly onError: BrokerEvents['onError'];
  /** The state in `summary` changed; not called for a change of the reason alone. */
  readonly onChanged: (state: BackplaneSummary['state']) => void;
}

/** Between two attempts to make a deaf link anew, ms: each costs a comparison of every channel. */
const RENEW_EVERY_MS = 10_000;

const deafReason = (servers: number): string =>
  `deaf: acknowledged publications do not arrive from ${servers === 1 ? 'a server' : `${servers} servers`}`;

export const createBackplaneState = (options: BackplaneStateOptions): BackplaneState => {
  const { nodeName, broker, clock, hub, metrics, logger, onError, onChanged } = options;
  let interruptions = 0;
  /** The newest interruption whose losses are healed or receipted. */
  let healed = 0;
  let deafSinceMs: number | undefined;
  let told: BackplaneSummary['state'] = 'degraded';

  const summary = (): BackplaneSummary => {
    const health = broker.health();
    if (health.state === 'degraded')
      return { state: 'degraded', reason: `broker ${health.affected}: ${health.reason}` };
    const silent = canary.deafChannels().length;
    if (silent > 0) return { state: 'degraded', reason: deafReason(silent) };
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

  /** Compares every channel; what is missed from now on is another interruption. */
  const heal = (): void => {
    const current = ++interruptions;
    void hub.handleRestored().then(() => {
      healed = Math.max(healed, current);
      if (healed === interruptions) logger.info({ event: 'broker_healed' }, 'every channel is up to date');
      tell();
    });
  };

  const renewSubscriber = (): void => {
    const health = broker.health();
    // A link that is known to be down renews itself.
    if (health.state === 'degraded' && health.affected !== 'publisher') return;
    const channels = canary.deafChannels();
    for (const channel of channels) broker.renewSubscriber(channel, deafReason(channels.length));
  };
  let renewal: NodeJS.Timeout | undefined;

  const canary = createCanary({
    broker,
    prefix: canaryPrefixOf(nodeName),
    clock,
    onDeaf() {
      deafSinceMs = clock.monotonicMs();
      metrics.count('weir_node_deaf_total');
      logger.error({ event: 'node_deaf' }, 'acknowledged publications do not arrive; the link is made anew');
      tell();
      renewSubscriber();
      renewal = setInterval(renewSubscriber, RENEW_EVERY_MS);
    },
    onHearing() {
      deafSinceMs = undefined;
      clearInterval(renewal);
      logger.info({ event: 'node_hears' }, 'publications arrive again; comparing every channel with the broker');
      heal();
    },
    onError,
  });
  metrics.gauge('weir_node_deaf', () => (canary.deafChannels().length > 0 ? 1 : 0));

  const events: BrokerEvents = {
    onPublications(run) {
      if (!canary.handlePublications(run)) hub.handlePublications(run);
    },
    onEphemeral: (run) => hub.handleEphemeral(run),
    onInterrupted(reason) {
      metrics.count('weir_broker_interruptions_total');
      logger.warn({ event: 'broker_interrupted', reason }, 'publications may be missed until the broker is back');
      interruptions++;
      tell();
    },
    onRestored() {
      logger.info({ event: 'broker_restored' }, 'comparing every channel with the broker');
      heal();
    },
    onHealth(health) {
      logger.info({ event: 'broker_health', ...health }, `broker is ${health.state}`);
      tell();
    },
    tails: () => hub.tails(),
    onError,
  };
  return {
    events,
    summary,
    deafForMs: () => (deafSinceMs === undefined ? undefined : clock.monotonicMs() - deafSinceMs),
    start: () => canary.start(),
    close() {
      canary.close();
      clearInterval(renewal);
    },
  };
};
