// Lifecycle events: tells the application who came and went, and which channels have somebody, also of nodes that were killed.
import { BrokerUnavailableError } from '../../../broker/broker.ts';
import { laneOf, LIFECYCLE_LANES, type LifecycleLog, type LifecycleTerms } from '../../../broker/lifecycle.ts';
import type { Clock, IdSource } from '../../clock.ts';
import type { MetricsRegistry } from '../../observability/registry.ts';
import type { Asker, EventHook } from '../hooks.ts';
import { createDelivery, type Delivery, type EventSink } from './delivery.ts';
import { bodyOf, type EventType, lostCount } from './event-body.ts';
import { createLaneRecorder, type LaneRecorder } from './lane-recorder.ts';

export interface LifecycleSettings {
  readonly nodeName: string;
  /** Those the application is told. */
  readonly hookEventsTypes: readonly EventType[];
  readonly hookEventsGraceMs: number;
  readonly hookEventsLeaseMs: number;
  /** Over all lanes. */
  readonly hookEventsMaxBacklog: number;
  readonly hookTimeoutMs: number;
  readonly hookBreakerOpenMs: number;
}

export interface LifecycleOptions {
  readonly settings: LifecycleSettings;
  readonly log: LifecycleLog;
  /** Undefined: nobody is told, and nothing is kept. */
  readonly hook: EventHook | undefined;
  /** Whether the namespace of a channel takes part. */
  readonly isTold: (channel: string) => boolean;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly random: () => number;
  readonly metrics: MetricsRegistry;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Lifecycle {
  /**
   * A client is let in. Resolves when that is kept beyond the life of this node, or when it takes too long to wait for; undefined when
   * nobody is told.
   */
  connected(client: Asker): Promise<void> | undefined;
  /** Any connection ended; such as were not let in are nobody's concern. */
  disconnected(connection: string, code: number): void;
  /** This node has subscribers of the channel, or none any more. */
  handleAudience(channel: string, isThere: boolean): void;
  /** The broker can be reached. */
  start(): void;
  /** Everybody is gone: what happened is kept, as far as that can be done in a moment. Before the broker closes. */
  close(): Promise<void>;
}

/** Longest that a client waits until it is kept that it connected, ms. */
const CONNECT_WAIT_MS = 500;
/** Longest that the end of the node waits, ms. */
const CLOSE_WAIT_MS = 500;
/** Beats within one lease. */
const BEATS = 4;
/** The lane's clock counts at most so much between two calls (`LANE_STEP_MS`). */
const LONGEST_BEAT_MS = 1000;

const silent: Lifecycle = {
  connected: () => undefined,
  disconnected: () => undefined,
  handleAudience: () => undefined,
  start: () => undefined,
  close: () => Promise.resolve(),
};

export const createLifecycle = (options: LifecycleOptions): Lifecycle => {
  const { settings, log, hook, isTold, clock, ids, random, metrics } = options;
  if (hook === undefined) return silent;
  const { nodeName } = settings;
  const wanted = new Set<string>(settings.hookEventsTypes);
  const tellsConnections = wanted.has('connected') || wanted.has('disconnected');
  const tellsChannels = wanted.has('occupied') || wanted.has('vacated');
  const perLane = Math.ceil(settings.hookEventsMaxBacklog / LIFECYCLE_LANES);
  const terms: LifecycleTerms = {
    leaseMs: settings.hookEventsLeaseMs,
    graceMs: settings.hookEventsGraceMs,
    maxEvents: perLane,
  };
  const holder = ids.randomId();
  let beats: NodeJS.Timeout | undefined;

  const onError = (error: unknown): void => {
    // The broker says that itself, once.
    if (!(error instanceof BrokerUnavailableError)) options.onError(error as Error, { stage: 'events' });
  };

  const sink: EventSink = {
    async send(events) {
      const told = events.filter(({ type }) => type === 'lost' || wanted.has(type));
      if (told.length === 0) return;
      await hook.send(told.map(bodyOf));
      for (const event of told) {
        metrics.count('weir_hook_events_total', { event: event.type });
        if (event.type === 'lost') metrics.count('weir_hook_events_lost_total', {}, lostCount(event));
      }
    },
    get isOpen() {
      return hook.isOpen;
    },
  };

  const lanes = Array.from({ length: LIFECYCLE_LANES }, (_, lane): { recorder: LaneRecorder; delivery: Delivery } => {
    const shared = { log, lane, holder, terms, onError };
    const delivery = createDelivery({
      ...shared,
      sink,
      random,
      attemptMs: settings.hookTimeoutMs,
      restMs: settings.hookBreakerOpenMs,
    });
    const recorder = createLaneRecorder({
      ...shared,
      nodeName,
      clock,
      maxPending: perLane,
      onRecorded: () => delivery.wake(),
    });
    return { recorder, delivery };
  });
  const recorderOf = (name: string): LaneRecorder => lanes[laneOf(name)]!.recorder;

  const sum = (read: (lane: (typeof lanes)[number]) => number) => () =>
    lanes.reduce((all, lane) => all + read(lane), 0);
  metrics.gauge(
    'weir_hook_events_backlog',
    sum(({ delivery }) => delivery.backlog),
  );
  metrics.gauge('weir_hook_events_backlog_age_seconds', () =>
    Math.max(...lanes.map(({ delivery }) => delivery.oldestMs / 1000)),
  );
  metrics.gauge(
    'weir_hook_events_unwritten',
    sum(({ recorder }) => recorder.unwritten),
  );

  const within = (work: Promise<unknown>, ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      void work.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });

  return {
    connected({ connection, user, address }) {
      if (!tellsConnections) return undefined;
      const about = JSON.stringify({ connection, node: nodeName, user, address });
      return within(recorderOf(connection).connected(connection, about), CONNECT_WAIT_MS);
    },
    disconnected(connection, code) {
      if (tellsConnections) recorderOf(connection).disconnected(connection, String(code));
    },
    handleAudience(channel, isThere) {
      if (!tellsChannels || !isTold(channel)) return;
      const recorder = recorderOf(channel);
      if (isThere) recorder.joined(channel);
      else recorder.left(channel);
    },
    start() {
      for (const { delivery } of lanes) delivery.start();
      const beatMs = Math.min(LONGEST_BEAT_MS, settings.hookEventsLeaseMs / BEATS);
      beats = setInterval(() => {
        for (const { recorder } of lanes) recorder.beat();
      }, beatMs);
    },
    async close() {
      clearInterval(beats);
      const written = Promise.all(lanes.map(({ recorder }) => recorder.close()));
      await within(written, CLOSE_WAIT_MS);
      await within(Promise.all(lanes.map(({ delivery }) => delivery.close())), CLOSE_WAIT_MS);
    },
  };
};
