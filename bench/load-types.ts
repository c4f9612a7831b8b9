// The JSON between this bench and its load generator (`load/config.go` holds the same names).
import { type Static, Type } from '@sinclair/typebox';

export interface PublishLoad {
  readonly path: '/v1/publish' | '/v1/batch';
  /** Whole header lines, as `X-API-Key: secret`. */
  readonly headers: readonly string[];
  /** Publications per second, open loop. */
  readonly rate: number;
  /** Publications in all. */
  readonly count: number;
  /** Publications per POST. */
  readonly batch: number;
  /** Keep-alive connections with at most one outstanding POST each. */
  readonly connections: number;
  readonly payloadBytes: number;
  /** Latency of what is published in this first part is told apart, ms. */
  readonly earlyMs?: number;
  /** So far behind its schedule the run ends, ms; 2 s when absent. */
  readonly giveUpMs?: number;
}

/** Readers that take less than they are sent, until `holdMs` is over. */
export interface SlowLoad {
  readonly connections: number;
  /** Pace of connection i: element i modulo their number; 0 reads nothing. */
  readonly bytesPerSecond: readonly number[];
}

/** Whose CPU and memory a run reports, by the name it has in tables and notes. */
export interface WatchedProcess {
  readonly name: 'server' | 'Redis' | 'proxy';
  readonly pid: number;
}

export interface LoadConfig {
  readonly port: number;
  readonly path: string;
  readonly connections: number;
  /** Connections being opened at the same time. */
  readonly opening: number;
  /** Text frames sent before the subscriptions. */
  readonly frames: readonly string[];
  /** Channels c0…; 0 gives each connection a channel of its own. */
  readonly channels: number;
  readonly perConnection: number;
  /** Each n-th connection has every message read, which gives latency; the others are counted exactly. 0: none. */
  readonly sampleEvery: number;
  readonly settleMs: number;
  /** How long connections are held open when nothing is published. */
  readonly holdMs: number;
  readonly publish?: PublishLoad;
  /** Instead of a run; the answer is a list of groups. */
  readonly slow?: SlowLoad;
  /** Instead of a run: clients that lose their node and come back to the one at `port`, each after a random part of `withinMs`. */
  readonly return?: { readonly port: number; readonly withinMs: number };
  /** Subscribers of c0 beside the connections that read nothing until the load is over, and then all that they are owed. */
  readonly stalled?: { readonly connections: number; readonly readMs: number };
  readonly probe?: { readonly path: string; readonly everyUs: number };
  /** All come at once; refused ones (close 1013) come back when they were told to. */
  readonly storm?: { readonly resumeEvery: number; readonly resumeFrames: readonly string[] };
  /** The server is the first. */
  readonly processes: readonly WatchedProcess[];
  readonly spinUs: number;
  readonly drainMs: number;
}

const count = Type.Integer();
const real = Type.Number();
const latency = Type.Object({
  count,
  meanMs: real,
  p50Ms: real,
  p90Ms: real,
  p99Ms: real,
  p999Ms: real,
  maxMs: real,
});

/** CPU is in cores, `starved` the share of the time in which a process was ready but had no core, memory in bytes, times in the unit their name says. */
export const loadResultSchema = Type.Object({
  opened: count,
  failed: count,
  closed: count,
  openPerSecond: real,
  openLoaderCpu: real,
  published: count,
  positions: count,
  positionsOk: Type.Boolean(),
  requests: count,
  /** POSTs without a 2xx answer; of these `throttled` were answered 429 with Retry-After. */
  refused: count,
  throttled: count,
  expected: count,
  received: count,
  missing: count,
  skipped: count,
  duplicates: count,
  gaps: count,
  unreadable: count,
  frames: count,
  reads: count,
  bytes: count,
  deliveriesPerSecond: real,
  publishedPerSecond: real,
  spanSeconds: real,
  loaderCpu: real,
  loaderStarved: real,
  latency,
  /** Of what was published in the first `earlyMs`; zeros without. */
  early: latency,
  answer: latency,
  waited: latency,
  probe: latency,
  /** The same without the time in which the server was ready to answer but other processes had its core. */
  probeOwn: latency,
  processes: Type.Array(
    Type.Object({
      name: Type.String(),
      pid: count,
      openCpu: real,
      cpu: real,
      starved: real,
      rssBeforeBytes: count,
      rssOpenBytes: count,
      rssMaxBytes: count,
      rssEndBytes: count,
    }),
  ),
  storm: Type.Object({
    /** Let in per 100 ms; null without a storm. */
    perBin: Type.Union([Type.Array(count), Type.Null()]),
    refusals: count,
    resuming: count,
    resumedAtOnce: count,
    lastMs: real,
    lastResumeMs: real,
  }),
  /** All of them together; zeros without stalled readers. */
  stalled: Type.Object({
    opened: count,
    closed: count,
    /** Accounted for each offset up to the last one, once and in order. */
    complete: count,
    messages: count,
    /** Offsets that gap receipts declared missing. */
    declared: count,
    gaps: count,
    /** How far behind the last publication the newest offset lay that was declared missing; -1: none was. */
    newestGap: count,
    skipped: count,
    duplicates: count,
    unreadable: count,
    readMs: count,
  }),
  note: Type.String(),
});

/** What became of slow readers with one pace. */
export const slowResultSchema = Type.Array(
  Type.Object({
    bytesPerSecond: count,
    connections: count,
    opened: count,
    closed: count,
    refused: count,
    bytes: count,
  }),
);
export type SlowResult = Static<typeof slowResultSchema>;

/** What became of clients that lost their node. */
export const returnResultSchema = Type.Object({
  clients: count,
  /** At the head, in the end. */
  back: count,
  received: count,
  skipped: count,
  duplicates: count,
  gaps: count,
  unreadable: count,
  /** From the call until the last one had everything. */
  allMs: real,
  /** From the answered handshake until a client had everything. */
  replayP50Ms: real,
  replayP99Ms: real,
  loaderCpu: real,
  note: Type.String(),
});
export type ReturnResult = Static<typeof returnResultSchema>;

export type LoadResult = Static<typeof loadResultSchema>;
