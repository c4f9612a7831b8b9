// The contract of a scenario: it measures one server and answers rows for the table and figures to compare.
import type { LoadConfig, LoadResult, PublishLoad, SlowResult } from './load-types.ts';
import type { Loader, ReturningClients } from './loader.ts';
import type { Pinning } from './pinning.ts';
import type { BenchServer, ServerName } from './servers.ts';

/** `quick` is for a look: shorter and fewer steps, no figure to quote. */
export type Depth = 'full' | 'quick';

export interface Measuring {
  readonly server: BenchServer;
  readonly load: Loader;
  /** Holds slow readers open beside a load. */
  readonly holdSlowReaders: (config: LoadConfig) => Promise<SlowResult>;
  /** Opens clients that will lose their node and come back to another. */
  readonly openReturning: (config: LoadConfig) => Promise<ReturningClients>;
  readonly depth: Depth;
  readonly pinning: Pinning;
  /** One line of progress. */
  readonly say: (line: string) => void;
}

/** One line of a scenario's table: column to value, in the order they are shown. */
export type Row = Readonly<Record<string, number | string>>;

export interface Measured {
  readonly rows: readonly Row[];
  /** The figures by which servers are compared, by name of a `Figure`. */
  readonly figures: Readonly<Record<string, number>>;
  /** Everything the load generator answered, for the JSON file. */
  readonly runs: readonly LoadResult[];
}

export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** What Weir through Redis must reach: a number, or a multiple of raw uWebSockets.js in the same run. */
  readonly bar?: { readonly value: number } | { readonly timesRaw: number };
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly figures: readonly Figure[];
  /** Servers measured when the command line names none. */
  readonly servers: readonly ServerName[];
  /** Measured so often, in turns with the other servers while all are up; medians count, the first round apart. Once, each server alone, when absent. */
  readonly rounds?: number;
  /** Further environment of each Weir node. */
  readonly env?: Readonly<Record<string, string>>;
  measure(measuring: Measuring): Promise<Measured>;
}

/** Publisher connections unless a scenario says otherwise, none of which pipelines. */
const PUBLISHER_CONNECTIONS = 64;
export const PAYLOAD_BYTES = 128;

/** What all loads have in common: one subscription to c0 per connection, on the given server. */
export const baseLoad = (server: BenchServer, connections: number): LoadConfig => ({
  port: server.port,
  path: '/v1/ws',
  connections,
  opening: 200,
  frames: ['{"id":1,"type":"connect"}'],
  channels: 1,
  perConnection: 1,
  sampleEvery: 50,
  settleMs: 500,
  holdMs: 0,
  processes: [{ name: 'server', pid: server.pid }, ...(server.beside ?? [])],
  // Wakes of a sleeping reader are charged to the server; 100 us covers the pauses between flushes to 1 000 sockets.
  spinUs: 100,
  drainMs: 5_000,
});

/** `count` publications to their channels in turn, `rate` of them per second, so many per POST. */
export const publications = (server: BenchServer, rate: number, count: number, batch = 1): PublishLoad => ({
  path: batch > 1 ? '/v1/batch' : '/v1/publish',
  headers: server.publishHeaders,
  rate,
  count,
  batch,
  connections: PUBLISHER_CONNECTIONS,
  payloadBytes: PAYLOAD_BYTES,
});

/** Every publication accepted with its own position and delivered exactly once, in order, to all. */
export const isComplete = (run: LoadResult, publications: number): boolean =>
  run.failed === 0 &&
  run.closed === 0 &&
  run.refused === 0 &&
  run.published === publications &&
  run.positions === publications &&
  run.missing === 0 &&
  run.skipped + run.duplicates + run.gaps + run.unreadable === 0;

export const round = (value: number, digits = 0): number => {
  const factor = 10 ** digits;
  return Math.round(value * factor) / factor;
};

export const serverCpu = (run: LoadResult): number => run.processes[0]?.cpu ?? 0;

const perDelivery = (run: LoadResult, cores: number): number =>
  run.deliveriesPerSecond === 0 ? 0 : (cores * 1e6) / run.deliveriesPerSecond;

/** What one message to one subscriber costs the server, without what stands beside it. */
export const microsecondsPerDelivery = (run: LoadResult): number => perDelivery(run, serverCpu(run));

/** CPU of what stands beside the server, in cores; of a proxy also per message that passed it. */
const besideColumns = (run: LoadResult): Row => {
  const row: Record<string, number> = {};
  for (const { name, cpu } of run.processes.slice(1)) {
    row[`${name} CPU`] = round(cpu, 2);
    if (name === 'proxy') row['proxy us/delivery'] = round(perDelivery(run, cpu), 3);
  }
  return row;
};

/** Above this share of waiting for a core a run says more about the machine than about the server. */
const STARVED_SHARE = 0.05;

/** The first error of a run, and whether others took the core away from the server or the load generator. */
export const noteOf = (run: LoadResult): string => {
  const starved = [...run.processes, { name: 'loader', starved: run.loaderStarved }]
    .filter((process) => process.starved > STARVED_SHARE)
    .map((process) => `${process.name} had no core for ${round(process.starved * 100)} % of the time`);
  return [...(run.note === '' ? [] : [run.note]), ...starved].join('; ');
};

/** The columns that every publishing step shows. */
export const loadColumns = (run: LoadResult): Row => ({
  'deliveries/s': round(run.deliveriesPerSecond),
  'p50 ms': round(run.latency.p50Ms, 1),
  'p99 ms': round(run.latency.p99Ms, 1),
  'max ms': round(run.latency.maxMs, 1),
  missing: run.missing,
  'server CPU': round(serverCpu(run), 2),
  ...besideColumns(run),
  'loader CPU': round(run.loaderCpu, 2),
  note: noteOf(run),
});
