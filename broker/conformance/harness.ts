// What a driver supplies to the conformance suite, and the instruments the suite works with.
import type { Broker, BrokerEvents, BrokerHealth, ChannelTail, EphemeralRun, PublicationRun } from '../broker.ts';
import type { BrokerClock } from '../clock.ts';
import type { HistoryBounds, Publication, PublishRequest } from '../publication.ts';

/** Several nodes on one backplane that nobody else uses. */
export interface ConformanceCluster extends AsyncDisposable {
  createBroker(node: string, options?: { readonly leaseMs?: number }): Broker;
  /** Time as the drivers see it, where they ask the injected clock. */
  readonly clock: ManualClock;
}

export interface ConformanceHarness {
  openCluster(): Promise<ConformanceCluster>;
  /** Whether windows kept by the backplane itself (message ids, leases) follow the injected clock or the server's. */
  readonly windows: 'injected clock' | 'server clock';
}

export interface ManualClock extends BrokerClock {
  advance(ms: number): void;
}

/** Runs along with real time, so that server and injected clock agree until it is advanced. */
export const createManualClock = (): ManualClock => {
  let aheadMs = 0;
  return {
    nowMs: () => Date.now() + aheadMs,
    advance(ms) {
      aheadMs += ms;
    },
  };
};

export interface Recorder extends BrokerEvents {
  readonly runs: PublicationRun[];
  readonly ephemeral: EphemeralRun[];
  readonly health: BrokerHealth[];
  readonly errors: { readonly error: Error; readonly stage: string }[];
  /** `interrupted` and `restored`, in order. */
  readonly path: string[];
  publications(channel: string): Publication[];
  offsets(channel: string): number[];
}

/** As a hub has them that keeps everything. */
const tailsOf = (runs: readonly PublicationRun[]): ChannelTail[] => {
  const tails = new Map<string, { channel: string; epoch: string; offset: number; publications: Publication[] }>();
  for (const { channel, epoch, publications } of runs) {
    let tail = tails.get(channel);
    if (tail?.epoch !== epoch) tails.set(channel, (tail = { channel, epoch, offset: 0, publications: [] }));
    for (const publication of publications) {
      if (publication.offset <= tail.offset) continue;
      if (publication.offset > tail.offset + 1) tail.publications = [];
      tail.publications.push(publication);
      tail.offset = publication.offset;
    }
  }
  return [...tails.values()];
};

export const createRecorder = (): Recorder => {
  const runs: PublicationRun[] = [];
  const ephemeral: EphemeralRun[] = [];
  const health: BrokerHealth[] = [];
  const errors: { error: Error; stage: string }[] = [];
  const path: string[] = [];
  const publications = (channel: string): Publication[] =>
    runs.filter((run) => run.channel === channel).flatMap((run) => run.publications);
  return {
    runs,
    ephemeral,
    health,
    errors,
    path,
    publications,
    offsets: (channel) => publications(channel).map((publication) => publication.offset),
    onPublications: (run) => void runs.push(run),
    onEphemeral: (run) => void ephemeral.push(run),
    onInterrupted: () => void path.push('interrupted'),
    onRestored: () => void path.push('restored'),
    onHealth: (next) => void health.push(next),
    tails: () => tailsOf(runs),
    onError: (error, { stage }) => void errors.push({ error, stage }),
  };
};

export interface TestNode {
  readonly broker: Broker;
  readonly events: Recorder;
}

export const startNode = async (
  cluster: ConformanceCluster,
  node: string,
  options?: { readonly leaseMs?: number },
): Promise<TestNode> => {
  const broker = cluster.createBroker(node, options);
  const events = createRecorder();
  await broker.start(events);
  return { broker, events };
};

export const BOUNDS: HistoryBounds = { size: 100, ttlMs: 60_000 };

/** A request as the gateway makes it; `data` is the publication's content. */
export const requestFor = (
  channel: string,
  data: unknown,
  more: Partial<Omit<PublishRequest, 'channel' | 'body'>> = {},
): PublishRequest => {
  const timeMs = more.timeMs ?? Date.now();
  const body = { data, ...(more.key === undefined ? {} : { key: more.key }), time: timeMs };
  return { channel, body: Buffer.from(JSON.stringify(body)), history: BOUNDS, ...more, timeMs };
};

export const dataOf = (publication: Publication): unknown =>
  (JSON.parse(publication.body.toString()) as { data: unknown }).data;

export const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

export const WAIT = { timeout: 20_000, interval: 5 } as const;
