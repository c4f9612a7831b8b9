// Proves every second, by a publication through the real path of every server, that this node hears the backplane.
//
// A link can answer pings and deliver nothing. Only a publication that was acknowledged and never arrived tells. A
// backplane of several servers has a path from each, so each has a canary.
import { BrokerUnavailableError, type Broker, type ChannelPosition, type PublicationRun } from '../broker/broker.ts';
import type { Clock } from './clock.ts';

/** How channels of canaries begin: a space and a dollar sign, so that no client can name, list or subscribe one. */
export const canaryPrefixOf = (node: string): string => `$canary ${node}`;

/** Between two canaries, ms. */
const SEND_EVERY_MS = 1000;
/** Between two looks at those that were acknowledged, ms. */
export const LOOK_EVERY_MS = 100;
/** An acknowledged canary that takes longer was not delivered, ms. With the two above: deaf after 2.6 s at the latest. */
export const DEAF_AFTER_MS = 1500;
/** A look that comes later than this was held up by this node itself, and what arrived meanwhile was not read yet, ms. */
const LONGEST_STEP_MS = 500;

export interface CanaryState {
  readonly verdict: 'hearing' | 'deaf';
  /** How long an acknowledged canary has been awaited; undefined while none is. */
  readonly awaitedMs: number | undefined;
  /** What was heard last: the acknowledgement may come later than the publication. */
  readonly heard: ChannelPosition | undefined;
  readonly lookedAtMs: number;
}

export type CanaryEvent =
  | { readonly type: 'acknowledged'; readonly position: ChannelPosition }
  | { readonly type: 'heard'; readonly position: ChannelPosition }
  | { readonly type: 'look'; readonly atMs: number };

export const initialCanaryState = (atMs: number): CanaryState => ({
  verdict: 'hearing',
  awaitedMs: undefined,
  heard: undefined,
  lookedAtMs: atMs,
});

export const nextCanaryState = (state: CanaryState, event: CanaryEvent): CanaryState => {
  switch (event.type) {
    case 'acknowledged': {
      const { heard } = state;
      const { epoch, offset } = event.position;
      if (heard?.epoch === epoch && heard.offset >= offset) return state;
      return { ...state, awaitedMs: state.awaitedMs ?? 0 };
    }
    case 'heard':
      // Any of them: a path that is late is not deaf.
      return { ...state, verdict: 'hearing', awaitedMs: undefined, heard: event.position };
    case 'look': {
      const stepMs = Math.min(event.atMs - state.lookedAtMs, LONGEST_STEP_MS);
      const awaitedMs = state.awaitedMs === undefined ? undefined : state.awaitedMs + stepMs;
      const isDeaf = awaitedMs !== undefined && awaitedMs >= DEAF_AFTER_MS;
      return { ...state, verdict: isDeaf ? 'deaf' : state.verdict, awaitedMs, lookedAtMs: event.atMs };
    }
  }
};

export interface CanaryOptions {
  readonly broker: Pick<Broker, 'publish' | 'subscribe' | 'unsubscribe' | 'probeChannels'>;
  /** Unique among the nodes, see `canaryPrefixOf`. */
  readonly prefix: string;
  readonly clock: Clock;
  /** The first of the servers is not heard. */
  readonly onDeaf: () => void;
  /** All of them are heard again. What was published meanwhile was missed. */
  readonly onHearing: () => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Canary {
  /** True when the run was a canary, and nobody else's. */
  handlePublications(run: PublicationRun): boolean;
  /** Those whose publications are acknowledged and not heard. */
  deafChannels(): readonly string[];
  /** Begins; the broker has started. */
  start(): void;
  close(): void;
}

const HISTORY = { size: 0, ttlMs: 0 } as const;

export const createCanary = (options: CanaryOptions): Canary => {
  const { broker, prefix, clock, onDeaf, onHearing, onError } = options;
  /** By channel, one for each server. */
  const states = new Map<string, CanaryState>();
  const subscribed = new Set<string>();
  /** Subscribing or publishing: a call that hangs is not repeated. */
  const busy = new Set<string>();
  let deaf = false;
  let timer: NodeJS.Timeout | undefined;
  let looks = 0;

  const deafChannels = (): string[] =>
    [...states].filter(([, { verdict }]) => verdict === 'deaf').map(([channel]) => channel);

  const tell = (): void => {
    const now = deafChannels().length > 0;
    if (now === deaf) return;
    deaf = now;
    if (now) onDeaf();
    else onHearing();
  };

  const apply = (channel: string, event: CanaryEvent): void => {
    const state = states.get(channel);
    if (state === undefined) return;
    states.set(channel, nextCanaryState(state, event));
    tell();
  };

  const forget = (channel: string): void => {
    states.delete(channel);
    if (!subscribed.delete(channel)) return;
    broker.unsubscribe(channel).catch((error: unknown) => onError(error as Error, { stage: 'canary' }));
  };

  /** Servers come and go; while none is known, what was known stays. */
  const followServers = (): void => {
    const channels = broker.probeChannels(prefix);
    if (channels.length === 0) return;
    for (const channel of states.keys()) if (!channels.includes(channel)) forget(channel);
    for (const channel of channels) {
      if (!states.has(channel)) states.set(channel, initialCanaryState(clock.monotonicMs()));
    }
    tell();
  };

  /** Failures are the publisher's, whose health tells them; without an acknowledgement nothing is proven. */
  const send = async (channel: string): Promise<void> => {
    if (busy.has(channel)) return;
    busy.add(channel);
    try {
      if (!subscribed.has(channel)) {
        await broker.subscribe(channel);
        subscribed.add(channel);
        if (!states.has(channel)) forget(channel);
      }
      const timeMs = clock.nowMs();
      const body = Buffer.from(`{"data":null,"time":${timeMs}}`);
      const { epoch, offset } = await broker.publish({ channel, body, timeMs, history: HISTORY });
      apply(channel, { type: 'acknowledged', position: { epoch, offset } });
    } catch (error) {
      if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'canary' });
      // What too few replicas have was sent all the same.
      else if (error.written !== undefined) apply(channel, { type: 'acknowledged', position: error.written });
    } finally {
      busy.delete(channel);
    }
  };

  const look = (): void => {
    const isTurn = looks % (SEND_EVERY_MS / LOOK_EVERY_MS) === 0;
    if (isTurn) followServers();
    const atMs = clock.monotonicMs();
    for (const channel of [...states.keys()]) {
      apply(channel, { type: 'look', atMs });
      if (isTurn) void send(channel);
    }
    looks++;
  };

  return {
    handlePublications({ channel, epoch, publications }) {
      if (!channel.startsWith(prefix)) return false;
      const { offset } = publications.at(-1) ?? { offset: 0 };
      apply(channel, { type: 'heard', position: { epoch, offset } });
      return true;
    },
    deafChannels,
    start() {
      if (timer !== undefined) return;
      timer = setInterval(look, LOOK_EVERY_MS);
      look();
    },
    close() {
      clearInterval(timer);
    },
  };
};
