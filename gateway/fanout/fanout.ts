// Wires the rooms of fan-out together: logs and who listens, live flushes, catch-up, rings.
//
// To read on, in the order in which a publication meets them (`docs/architecture.md` draws it):
// - `channel-log.ts`, `channel-state.ts`: the numbered log of a channel, and the cursors over it.
// - `hub.ts`: who listens to what, and how a publication gets into the log; `positions.ts` and `healing.ts` when something was missed.
// - `dispatcher.ts`, with `batch-frame.ts` and `coalescing.ts`: live flushes.
// - `catch-up.ts`, with `starting.ts`, `history-pages.ts`, `page-encoder.ts`, `page-account.ts`, `receipts.ts`, `policy.ts` and `ack-window.ts`: cursors that are behind.
// - `rings.ts`, `kicks.ts`, `byte-budget.ts`: what is kept, for how long, and who gives way.
// - `ephemeral/`: channels without a log.
import type { Broker } from '../../broker/broker.ts';
import type { HistoryBounds } from '../../broker/publication.ts';
import type { Clock } from '../clock.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { createCatchUp } from './catch-up.ts';
import type { Subscriber } from './channel-state.ts';
import type { Wait } from './coalescing.ts';
import { createDispatcher, type Dispatcher } from './dispatcher.ts';
import { createEphemeral } from './ephemeral/ephemeral.ts';
import { createHub, type Hub } from './hub.ts';
import { createKicks, type KickLimits } from './kicks.ts';
import { createPageAccount } from './page-account.ts';
import { createRings, type RingOptions } from './rings.ts';

export interface FanoutOptions extends Pick<RingOptions, 'maxChannelBytes' | 'maxTotalBytes'> {
  /** What fan-out keeps for clients beside their outboxes grew or shrank by so much, bytes. */
  readonly onCharged: (part: 'rings' | 'pages' | 'ephemeral', bytes: number) => void;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly boundsOf: (channel: string) => HistoryBounds;
  readonly limitsOf: (channel: string) => KickLimits & { readonly coalesce: number | undefined };
  /** How long the next flush waits; asked for each. */
  readonly wait: () => Wait;
  /** Whether ephemeral channels hand over their newest messages only, and rest in between. Default: never. */
  readonly isThinned?: () => boolean;
  /** How long they rest then, ms. */
  readonly restMs?: number;
  /** What all ephemeral channels may have waiting for their turn, bytes. */
  readonly maxWaitingBytes: number;
  /** Hands a frame to every socket that listens to the topic; absent where no socket can. */
  readonly publishNative?: (topic: string, frame: Buffer) => void;
  /** This node has begun to receive a channel for its subscribers, or has none any more. */
  readonly onAudience?: (channel: string, isThere: boolean) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Fanout {
  readonly hub: Hub;
  /** The socket's backlog shrank. */
  handleDrain(subscriber: Subscriber): void;
  /** Longest that the newest flush could wait, ms. */
  readonly currentDelayMs: number;
  /** For how long some channel has had more than one flush could take, ms; 0 while fan-out keeps up. */
  readonly backlogMs: number;
  /** What the channel logs keep, bytes. */
  readonly ringBytes: number;
  /** Trims all channel logs together to so much, bytes. */
  shrinkRings(maxBytes: number): void;
  /** Ends connections that are behind more than their namespace allows; repeated about once a second. */
  kick(): void;
  /** Ends timers; nothing is sent afterwards. */
  close(): void;
}

export const createFanout = (options: FanoutOptions): Fanout => {
  const { broker, clock, metrics, boundsOf, limitsOf, wait, onCharged, onError } = options;
  const kicks = createKicks({ clock, metrics, limitsOf });
  const markDirty: Dispatcher['markDirty'] = (channel, publications) => dispatcher.markDirty(channel, publications);
  const rings = createRings({ ...options, onCharged: (bytes) => onCharged('rings', bytes) });
  const catchUp = createCatchUp({
    history: broker.history,
    clock,
    metrics,
    boundsOf,
    heldPages: createPageAccount((bytes) => onCharged('pages', bytes)),
    onReturned: markDirty,
    onExpired: (subscription) => kicks.handleExpired(subscription),
    onLogLags: (channel) => hub.heal(channel),
    onError,
  });
  const dispatcher = createDispatcher({
    clock,
    metrics,
    wait,
    fallBehind: (subscription) => catchUp.fallBehind(subscription),
    onProgress: (channel) => catchUp.handleProgress(channel),
    onFlushed: (channel) => rings.settle(channel),
  });
  const { publishNative = () => undefined, onAudience = () => undefined } = options;
  const { isThinned = () => false, restMs = 0, maxWaitingBytes } = options;
  const ephemeral = createEphemeral({
    broker,
    clock,
    metrics,
    delayMs: () => wait().ms,
    isThinned,
    restMs,
    maxWaitingBytes,
    publishNative,
    onAudience,
    onCharged: (bytes) => onCharged('ephemeral', bytes),
    onError,
  });
  const hub = createHub({
    broker,
    ephemeral,
    catchUp,
    markDirty,
    onClosed: (channel) => rings.release(channel),
    onAudience,
    metrics,
    boundsOf,
    coalesceMsOf: (channel) => limitsOf(channel).coalesce,
    onError,
  });
  return {
    hub,
    handleDrain(subscriber) {
      catchUp.handleDrain(subscriber);
      ephemeral.handleDrain(subscriber);
    },
    get currentDelayMs() {
      return dispatcher.currentDelayMs;
    },
    get backlogMs() {
      return dispatcher.backlogMs;
    },
    get ringBytes() {
      return rings.bytes;
    },
    shrinkRings: (maxBytes) => rings.shrink(maxBytes),
    kick: () => kicks.look(hub.channels()),
    close() {
      hub.close();
      ephemeral.close();
      catchUp.close();
      dispatcher.close();
      rings.close();
    },
  };
};
