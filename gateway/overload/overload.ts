// The overload control of one node: samples the signals, moves the ladder, and answers who may still come and publish.
import type { Clock } from '../clock.ts';
import type { Logger } from '../observability/logger.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { createLadder, type Level, type Pressures, RUNGS, type Rung, type Signal, SIGNALS } from './ladder.ts';
import { createPublishLimit, type PublishLimit } from './publish-limit.ts';
import { createPublishBound, type PublishSource } from './publish-bound.ts';
import { createPublishTurn } from './publish-turn.ts';
import { createSignals, highest, type Readings, SAMPLE_MS, type Thresholds } from './signals.ts';

export interface OverloadOptions {
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly thresholds: Thresholds;
  /** Time a signal presses before the next rung engages, ms. */
  readonly stepMs: number;
  /** Time all signals are calm before the highest rung is released, ms. */
  readonly releaseMs: number;
  /** What publications may take beyond what the broker takes by itself, while the loop is busy, ms; 0: however long they like. */
  readonly publishWaitMs: number;
  /** Calls back behind all that is read in this turn of the event loop. */
  readonly nextTurn: (work: () => void) => void;
  /** Everything but the broker, which tells by `handlePublished`. */
  readonly read: () => Omit<Readings, 'broker'>;
  /** Called after every sample while `move_idle` is engaged: asks idle connections to leave. Returns how many were asked. */
  readonly moveIdle: () => number;
}

/** Who wants to connect. */
export interface Arrival {
  readonly anonymous: boolean;
  /** Says that it was connected before: it names a session, or that it has cursors. */
  readonly resumes: boolean;
}

export interface OverloadState {
  readonly level: Level;
  /** Signals that raised it or hold it. */
  readonly reasons: readonly Signal[];
}

export interface Overload {
  /** Rungs engaged, 0 to 8: all up to this one, in the order of `RUNGS`. */
  rung(): Level;
  isEngaged(rung: Rung): boolean;
  state(): OverloadState;
  /** What of its full share of new connections the node should get, 1 to 100. */
  weight(): number;
  /** Delay after which a newcomer may try again, ms; undefined: it may stay. Counts the refusal. */
  refuseConnect(arrival: Arrival): number | undefined;
  /** Delay after which a publisher may try again, ms; undefined: it may publish. Counts the refusal. */
  refusePublish(source: PublishSource): number | undefined;
  /** A publication was handed to the broker. */
  handlePublishing(source: PublishSource): void;
  /** The broker confirmed it after so long, ms, or it failed. */
  handlePublished(source: PublishSource, durationMs: number | undefined): void;
  /** One sample; repeated by `start`. */
  tick(): void;
  start(): void;
  close(): void;
}

/** Delay named to those who are turned away: from this on, up to twice as long, so that they do not come back together, ms. */
const RETRY_MS = 1000;
/**
 * Publishes are let in as fast as leaves the loop this part of the delay at which it is overloaded: an admitted publication
 * waits for the loop about three times (to be read, to be confirmed, to be flushed).
 */
const LAG_GOAL = 0.5;
/** Below this share of the thresholds a node takes its full share of new connections. */
const FULL_WEIGHT_UP_TO = 0.5;

export const createOverload = (options: OverloadOptions): Overload => {
  const { clock, metrics, logger, random, read, moveIdle } = options;
  const ladder = createLadder(options);
  const signals = createSignals(options.thresholds);
  const limits: Readonly<Record<PublishSource, PublishLimit>> = {
    client: createPublishLimit(),
    http: createPublishLimit(),
  };
  const bound = createPublishBound(options.publishWaitMs);
  const turn = createPublishTurn(options);
  const rungOf: Readonly<Record<PublishSource, Rung>> = {
    client: 'refuse_client_publishes',
    http: 'refuse_server_publishes',
  };
  let sampledAtMs = clock.monotonicMs();
  let publishedCount = 0;
  let publishedMs = 0;
  let timer: NodeJS.Timeout | undefined;
  /** Of each rung, when it changed last and how. */
  const changedAtMs = new Map<string, { readonly rung: Rung; readonly kind: string; readonly atMs: number }>();

  const isEngaged = (rung: Rung): boolean => ladder.level > RUNGS.indexOf(rung);
  const refused = (rung: Rung | 'publish_bound'): number => {
    metrics.count('weir_overload_refusals_total', { rung });
    return Math.round(RETRY_MS * (1 + random()));
  };

  const takeReadings = (): Readings => {
    const broker = publishedCount === 0 ? undefined : publishedMs / publishedCount;
    publishedCount = 0;
    publishedMs = 0;
    return { ...read(), broker };
  };

  const shed = (nowMs: number, pressures: Pressures, busy: number): void => {
    const elapsedMs = Math.max(1, nowMs - sampledAtMs);
    // What clients buffer is none of the publishers' doing.
    const pressing = { ...pressures, buffered: 0, lag: pressures.lag / LAG_GOAL };
    const isLimited = limits.client.refusing || limits.http.refusing;
    bound.sample({ elapsedMs, busy, lag: pressures.lag, isLimited });
    const pressure = highest(pressing);
    // For servers a full loop is the bound's matter where there is one: it holds the node where it is just full.
    const pressureOfServers = bound.isBounded ? highest({ ...pressures, buffered: 0, cpu: 0 }) : pressure;
    for (const source of ['client', 'http'] as const) {
      if (isEngaged(rungOf[source])) limits[source].engage(nowMs);
      else limits[source].release();
    }
    limits.http.sample(elapsedMs, pressureOfServers, true);
    // Clients are refused first, so they are let in again last.
    limits.client.sample(elapsedMs, pressure, !limits.http.refusing);
  };

  const isBusy = (): boolean =>
    (['client', 'http'] as const).some(
      (source) => RUNGS[ladder.level - 1] === rungOf[source] && (limits[source].refusing || bound.refusing(source)),
    );

  /** Refusing clients is no reason to go beyond the rung that refuses clients. */
  const turnsAway = (): boolean =>
    bound.refusing('http') || (bound.refusing('client') && !isEngaged('refuse_client_publishes'));

  const tick = (): void => {
    const nowMs = clock.monotonicMs();
    const readings = takeReadings();
    const pressures = signals.sample(readings, turnsAway());
    const change = ladder.observe(pressures, nowMs, isBusy());
    if (change !== undefined) {
      const rung = RUNGS[change.rung - 1]!;
      const { kind, reasons } = change;
      changedAtMs.set(`${rung} ${kind}`, { rung, kind, atMs: clock.nowMs() });
      if (kind === 'engaged')
        for (const reason of reasons) metrics.count('weir_overload_engaged_total', { rung, reason });
      else metrics.count('weir_overload_released_total', { rung });
      logger.warn(
        { event: `overload_${kind}`, rung, level: ladder.level, reasons, pressures },
        `overload: ${rung} ${kind}`,
      );
    }
    shed(nowMs, pressures, readings.cpu);
    sampledAtMs = nowMs;
    if (!isEngaged('move_idle')) return;
    const asked = moveIdle();
    if (asked > 0) metrics.count('weir_overload_refusals_total', { rung: 'move_idle' }, asked);
  };

  metrics.gauge('weir_overload_level', () => ladder.level);
  metrics.gauge('weir_overload_rung', () =>
    RUNGS.flatMap((rung) =>
      SIGNALS.map((reason) => ({
        labels: { rung, reason },
        value: isEngaged(rung) && ladder.reasons.includes(reason) ? 1 : 0,
      })),
    ),
  );
  metrics.gauge('weir_overload_changed_timestamp_seconds', () =>
    [...changedAtMs.values()].map(({ rung, kind, atMs }) => ({ labels: { rung, change: kind }, value: atMs / 1000 })),
  );
  metrics.gauge('weir_overload_signal_ratio', () =>
    SIGNALS.map((signal) => ({ labels: { signal }, value: signals.pressures[signal] })),
  );

  return {
    rung: () => ladder.level,
    isEngaged,
    state: () => ({ level: ladder.level, reasons: ladder.reasons }),
    weight() {
      if (isEngaged('refuse_new')) return 1;
      const load = (highest(signals.pressures) - FULL_WEIGHT_UP_TO) / (1 - FULL_WEIGHT_UP_TO);
      return Math.round(100 - 99 * Math.min(1, Math.max(0, load)));
    },
    refuseConnect({ anonymous, resumes }) {
      if (resumes) return undefined;
      if (isEngaged('refuse_new')) return refused('refuse_new');
      return anonymous && isEngaged('refuse_anonymous') ? refused('refuse_anonymous') : undefined;
    },
    refusePublish(source) {
      const nowMs = clock.monotonicMs();
      if (!limits[source].admits(nowMs)) return refused(rungOf[source]);
      if (source === 'http' && turn.isFull(nowMs)) bound.handleRefused(source);
      else if (bound.admits(source)) return undefined;
      return refused('publish_bound');
    },
    handlePublishing(source) {
      limits[source].handleTaken(1);
      bound.handleTaken(source);
      if (source === 'http') turn.handleTaken();
    },
    handlePublished(source, durationMs) {
      bound.handleOver(source, durationMs);
      if (durationMs === undefined) return;
      publishedCount++;
      publishedMs += durationMs;
    },
    tick,
    start() {
      sampledAtMs = clock.monotonicMs();
      timer ??= setInterval(tick, SAMPLE_MS).unref();
    },
    close() {
      clearInterval(timer);
      timer = undefined;
    },
  };
};
