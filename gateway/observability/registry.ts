// The metrics of one node in prom-client: everything counts in plain numbers, scrapes read them.
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { type MetricName, metricDeclarations } from './metrics.ts';
import { type CounterTally, createCounterTally, type Labels, TalliedHistogram } from './tallies.ts';

/** Counters of the hot path: plain fields, because even a look-up by name per message would be felt. */
export interface HotCounters {
  framesReceived: number;
  bytesReceived: number;
  publicationsReceived: number;
  deliveries: number;
  framesSent: number;
  bytesSent: number;
  flushes: number;
  /** Time spent in flushes of live messages, ms. */
  flushingMs: number;
  /** Time spent in turns of catch-up, ms. */
  catchingUpMs: number;
  connectionsOpened: number;
  pingsSent: number;
  pingsSkipped: number;
  /** Sum of weir_publications_total over its labels. */
  published: number;
}

/** Gauges that are read at scrape time instead of being kept up to date. */
export type GaugeReader = () => number | readonly { readonly labels: Record<string, string>; readonly value: number }[];

export interface MetricsRegistry {
  readonly hot: HotCounters;
  count(name: MetricName, labels?: Labels, by?: number): void;
  observe(name: MetricName, value: number, labels?: Labels): void;
  /** Registers what a gauge reports; later registrations replace earlier ones. */
  gauge(name: MetricName, read: GaugeReader): void;
  /** Prometheus text format. */
  exposition(): Promise<string>;
  readonly contentType: string;
}

const HOT: Readonly<Partial<Record<MetricName, keyof HotCounters>>> = {
  weir_frames_received_total: 'framesReceived',
  weir_bytes_received_total: 'bytesReceived',
  weir_publications_received_total: 'publicationsReceived',
  weir_deliveries_total: 'deliveries',
  weir_frames_sent_total: 'framesSent',
  weir_bytes_sent_total: 'bytesSent',
  weir_flushes_total: 'flushes',
  weir_connections_opened_total: 'connectionsOpened',
  weir_pings_sent_total: 'pingsSent',
  weir_pings_skipped_total: 'pingsSkipped',
};
/** Hot counters of time, ms, exported in seconds. */
const HOT_MS: Readonly<Partial<Record<MetricName, keyof HotCounters>>> = {
  weir_catch_up_seconds_total: 'catchingUpMs',
};

export const createMetricsRegistry = (): MetricsRegistry => {
  const registry = new Registry();
  const hot: HotCounters = {
    framesReceived: 0,
    bytesReceived: 0,
    publicationsReceived: 0,
    deliveries: 0,
    framesSent: 0,
    bytesSent: 0,
    flushes: 0,
    flushingMs: 0,
    catchingUpMs: 0,
    connectionsOpened: 0,
    pingsSent: 0,
    pingsSkipped: 0,
    published: 0,
  };
  const counters = new Map<MetricName, CounterTally>();
  const histograms = new Map<MetricName, TalliedHistogram>();
  const readers = new Map<MetricName, GaugeReader>();

  for (const [key, declaration] of Object.entries(metricDeclarations)) {
    const name = key as MetricName;
    const base = { name, help: declaration.help, labelNames: [...declaration.labels], registers: [registry] };
    if (declaration.type === 'counter') {
      const field = HOT[name] ?? HOT_MS[name];
      const scale = name in HOT_MS ? 1 / 1000 : 1;
      if (field === undefined) {
        const tally = createCounterTally(declaration.labels);
        for (const value of declaration.known ?? []) tally.add({ [declaration.labels[0]!]: value }, 0);
        if (declaration.labels.length === 0) tally.add(undefined, 0);
        counters.set(name, tally);
        new Counter({
          ...base,
          collect() {
            this.reset();
            for (const { labels, value } of tally.counts()) this.inc(labels, value);
          },
        });
      } else
        new Counter({
          ...base,
          collect() {
            this.reset();
            this.inc(hot[field] * scale);
          },
        });
    } else if (declaration.type === 'histogram') {
      histograms.set(name, new TalliedHistogram({ ...base, buckets: [...(declaration.buckets ?? [])] }));
    } else {
      new Gauge({
        ...base,
        collect() {
          const value = readers.get(name)?.() ?? 0;
          if (typeof value === 'number') this.set(value);
          else {
            this.reset();
            for (const entry of value) this.set(entry.labels, entry.value);
          }
        },
      });
    }
  }
  collectDefaultMetrics({ register: registry });

  return {
    hot,
    count(name, labels, by = 1) {
      const tally = counters.get(name);
      if (tally === undefined) throw new TypeError(`${name} is not a labelled counter`);
      tally.add(labels, by);
    },
    observe(name, value, labels) {
      const histogram = histograms.get(name);
      if (histogram === undefined) throw new TypeError(`${name} is not a histogram`);
      histogram.note(value, labels);
    },
    gauge(name, read) {
      readers.set(name, read);
    },
    exposition: () => registry.metrics(),
    contentType: registry.contentType,
  };
};
