// The contract between a node and the backplane: numbered publications in, ordered deliveries out.
//
// ## Numbering
// - A channel's first publication is offset 1 of a fresh epoch, +1 each. Offset, epoch, history and the notification of
//   subscribers happen in one atomic step: a position that was returned is in the log, and no other publication has it.
// - Concurrent publishers (also of other processes) get distinct positions; every subscriber of every node sees the same order.
// - The numbering outlives the history: a quiet channel keeps epoch and top offset for days. When it is gone, the epoch is new.
//   A numbering that only reads have asked for, without any publication, is gone after an hour.
//
// ## Two paths, two names
// `publish` goes to the backplane. What arrives from it may only be delivered locally (`BrokerEvents.onPublications`);
// a driver never hands a publication to its own node by another way than it reaches the other nodes.
//
// ## Ephemeral messages
// `publishEphemeral` sends to whoever is subscribed at that moment, and nobody else: no numbering, no history, no message ids. What one
// node sends to one channel keeps its order; what is sent while a path is interrupted is gone (`onInterrupted`).
//
// ## Who closes
// Whoever created the driver calls `close()`; afterwards every call rejects with `BrokerUnavailableError` and no event fires.
import type { ControlBus } from './control.ts';
import type { History } from './history.ts';
import type { LifecycleLog } from './lifecycle.ts';
import type { Limits } from './limits.ts';
import type { ChannelPosition, EphemeralRequest, Publication, PublishRequest } from './publication.ts';
import type { RevocationStore } from './revocations.ts';
import type { Sessions } from './sessions.ts';

export interface EphemeralMessage {
  readonly timeMs: number;
  /** Both as in `PublishRequest`. */
  readonly key?: string | undefined;
  readonly body: Buffer;
}

export type { ChannelPosition } from './publication.ts';

export interface PublishResult extends ChannelPosition {
  /** True when `messageId` was seen before; the position is that of the first publication. */
  readonly duplicate: boolean;
}

/** A run of publications of one channel: contiguous offsets, one epoch, in order. */
export interface PublicationRun {
  readonly channel: string;
  readonly epoch: string;
  /** Never empty; `publications[i].offset === publications[0].offset + i`. */
  readonly publications: readonly Publication[];
}

/** Ephemeral messages of one channel that arrived together. */
export interface EphemeralRun {
  readonly channel: string;
  /** Never empty. In memory of their own: the receiver may keep them. */
  readonly messages: readonly EphemeralMessage[];
}

/** What a node knows and still holds of a channel. */
export interface ChannelTail {
  readonly channel: string;
  readonly epoch: string;
  /** The newest offset that was delivered to this node. */
  readonly offset: number;
  /** The newest ones it still holds: contiguous, in order; may be none. */
  readonly publications: readonly Publication[];
}

export type BrokerHealth =
  | { readonly state: 'ready' }
  /** `subscriber`: publications may be missed, or what was missed cannot be read; `publisher`: publishes fail fast; `both`. */
  | { readonly state: 'degraded'; readonly affected: 'subscriber' | 'publisher' | 'both'; readonly reason: string };

export interface BrokerEvents {
  /** Publications of subscribed channels, in the order of the backplane. Called synchronously; must not throw. */
  onPublications(run: PublicationRun): void;
  /** Ephemeral messages of a subscribed channel, in the order of the backplane. Called synchronously; must not throw. */
  onEphemeral(run: EphemeralRun): void;
  /**
   * The path on which publications arrive was interrupted: from now on they may be missed.
   * Fired once per interruption, before any later `onRestored`; losing the path again before `onRestored` is the same one.
   */
  onInterrupted(reason: string): void;
  /**
   * The path works again and every channel still subscribed is subscribed anew. What was published in between was not
   * delivered: the receiver compares positions (`History.positions`, usable by now) and heals. `ready` is told afterwards.
   */
  onRestored(): void;
  /**
   * Health changed in a way that can be seen here; also fired once when the driver first becomes ready. The begin and the end
   * of an outage are told at once; how it changes in between only when that lasts (`Broker.health` always knows).
   */
  onHealth(health: BrokerHealth): void;
  /**
   * The tails of the channels this node receives. A driver whose backplane lost the newest publications restores them from
   * here, on every node, before numbering goes on.
   */
  tails(): Iterable<ChannelTail>;
  /** Every background error, named by where it happened. Never thrown elsewhere. */
  onError(error: Error, context: { readonly stage: string }): void;
}

export interface Broker {
  readonly history: History;
  readonly control: ControlBus;
  readonly sessions: Sessions;
  readonly limits: Limits;
  readonly lifecycle: LifecycleLog;
  readonly revocations: RevocationStore;
  /** Connects; resolves when publish and subscribe paths are usable. Keeps trying for ever; `onHealth` tells meanwhile. */
  start(events: BrokerEvents): Promise<void>;
  /**
   * Appends to the channel's log and notifies subscribers. Calls of one tick share a round trip; calls for one channel keep their order.
   * Rejects with `BrokerUnavailableError` when the outcome is a failure or unknown (a retry with the same `messageId` is safe),
   * and when the log has it on fewer copies than the driver was told to wait for; a retry waits for them as well.
   * Fails fast: never waits longer than the publish timeout, never queues while disconnected.
   */
  publish(request: PublishRequest): Promise<PublishResult>;
  /**
   * Sends to all nodes that are subscribed now, this one included if it is. Resolves when the backplane has taken it. Calls of one tick share
   * a round trip. Rejects with `BrokerUnavailableError`, never later than the publish timeout; nothing is queued while disconnected.
   */
  publishEphemeral(request: EphemeralRequest): Promise<void>;
  /**
   * Starts deliveries of the channel to this node; resolves once everything published afterwards will arrive.
   * Idempotent. Calls of one tick are batched. Rejects with `BrokerUnavailableError`; the channel is then not subscribed.
   */
  subscribe(channel: string): Promise<void>;
  /** Ends deliveries; idempotent; a `subscribe` that follows in the same tick wins. */
  unsubscribe(channel: string): Promise<void>;
  /**
   * Channel names that begin with `prefix`, one on each server this node receives publications from: a node that hears all of
   * them hears everything. Other names after a change of the deployment; none while nothing is known of it.
   */
  probeChannels(prefix: string): readonly string[];
  /**
   * Makes the path on which publications of the channel arrive anew, although it looks well: for a receiver that knows that it
   * hears nothing there. `onInterrupted` and `onRestored` follow, where the driver has a path that can be renewed. Not while degraded.
   */
  renewSubscriber(channel: string, reason: string): void;
  health(): BrokerHealth;
  close(): Promise<void>;
}

/** The backplane cannot be reached or did not answer in time. Temporary: error 114 on the wire. */
export class BrokerUnavailableError extends Error {
  override readonly name = 'BrokerUnavailableError';
  /** Where a publication is in the log that is not as safe there as the driver was told to make it. */
  readonly written: ChannelPosition | undefined;

  constructor(message?: string, options: ErrorOptions & { readonly written?: ChannelPosition } = {}) {
    super(message, options);
    this.written = options.written;
  }
}
