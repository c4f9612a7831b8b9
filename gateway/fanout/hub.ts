// Who on this node listens to which channel, and the way of a publication from the backplane into their channel logs.
//
// A channel lives here while it has subscriptions. Opening it means: subscribe at the broker first, then read the head;
// whatever arrives in between is held and joins, so there is no moment at which a publication can slip through.
import {
  type Broker,
  BrokerUnavailableError,
  type ChannelPosition,
  type ChannelTail,
  type EphemeralRun,
  type PublicationRun,
} from '../../broker/broker.ts';
import type { HistoryBounds } from '../../broker/publication.ts';
import type { Since } from '../../protocol/position.ts';
import { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { CatchUp } from './catch-up.ts';
import { ChannelState, type HeldOnNode, type Subscriber, Subscription } from './channel-state.ts';
import type { Ephemeral } from './ephemeral/ephemeral.ts';
import { type EphemeralChannel, EphemeralSubscription } from './ephemeral/ephemeral-channel.ts';
import { createHealing, hold, joinHeld, releaseHeld } from './healing.ts';
import { createComparison, createPositionReader } from './positions.ts';
import { LIVE, type StartOrder, startCatchUp } from './starting.ts';
import { AckWindow } from './ack-window.ts';

export interface HubOptions {
  readonly broker: Broker;
  readonly ephemeral: Ephemeral;
  readonly catchUp: CatchUp;
  /** There is something to flush; so many publications of it are new. */
  readonly markDirty: (channel: ChannelState, publications?: number) => void;
  /** The channel is gone from this node. */
  readonly onClosed: (channel: ChannelState) => void;
  /** The channel has subscribers here from now on, or none any more. */
  readonly onAudience: (channel: string, isThere: boolean) => void;
  readonly metrics: MetricsRegistry;
  readonly boundsOf: (channel: string) => HistoryBounds;
  /** Fixed wait before a flush of the channel, ms; undefined: as the load asks for. */
  readonly coalesceMsOf: (channel: string) => number | undefined;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export type AnySubscription = Subscription | EphemeralSubscription;

/** Of a subscription to an ephemeral channel: no server gives it. */
export const NO_POSITION: ChannelPosition = { epoch: '', offset: 0 };

/** A new subscription and the head of its channel, taken in the same instant. */
export interface Attached {
  readonly subscription: Subscription;
  readonly position: ChannelPosition;
  /** False when a gap precedes the messages. */
  readonly recovered: boolean;
}

export interface Hub {
  /**
   * Adds a subscription: live with its cursor at the head, or behind where `since` says. At once when that needs neither
   * the opening of the channel nor its history. Rejects with `BrokerUnavailableError`, or with `Failure`
   * unrecoverablePosition for a position the channel has not reached.
   */
  subscribe(subscriber: Subscriber, channel: string, order?: StartOrder): Attached | Promise<Attached>;
  /** The same for an ephemeral channel: live, without a position. Rejects with `BrokerUnavailableError`. */
  subscribeEphemeral(subscriber: Subscriber, channel: string): EphemeralSubscription | Promise<EphemeralSubscription>;
  /** Ends a subscription; nothing is sent for it afterwards. Idempotent. */
  unsubscribe(subscription: AnySubscription): void;
  /** Delivers what came from the backplane; never publishes. */
  handlePublications(run: PublicationRun): void;
  /** The same for messages of ephemeral channels. */
  handleEphemeral(run: EphemeralRun): void;
  /**
   * The way from the backplane was interrupted and works again: compares every channel with the broker and heals the
   * differing; those of ephemeral channels are told of it. Resolves when all of that is done.
   */
  handleRestored(): Promise<void>;
  /** Everything up to here was handed to the subscription's socket or reported. */
  positionOf(subscription: AnySubscription): ChannelPosition;
  /** A message up to `offset` was processed; with policy `ack` that makes room. Throws `Failure` badRequest. */
  acknowledge(subscription: AnySubscription, offset: number): void;
  /** Head of every channel, and the newest contiguous publications that this node still holds, in the epoch of its log. */
  tails(): Iterable<ChannelTail>;
  /** Compares the channel's log with the history because something shows that it lags. */
  heal(channel: ChannelState): void;
  find(channel: string): ChannelState | undefined;
  channels(): Iterable<ChannelState>;
  /** Every channel with subscriptions here, ephemeral ones included. */
  audiences(): Iterable<ChannelState | EphemeralChannel>;
  subscribersOf(channel: string): number;
  readonly channelCount: number;
  readonly subscriptionCount: number;
  close(): void;
}

interface Opening {
  readonly ready: Promise<void>;
}

export const createHub = (options: HubOptions): Hub => {
  const { broker, ephemeral, catchUp, markDirty, onClosed, onAudience, metrics, boundsOf, coalesceMsOf, onError } =
    options;
  const channels = new Map<string, ChannelState>();
  const openings = new Map<ChannelState, Opening>();
  const heldOnNode: HeldOnNode = { bytes: 0 };
  let subscriptionCount = 0;

  const onProgress = (channel: ChannelState): void => {
    if (channel.log.nextSeq !== channel.flushedSeq) markDirty(channel);
  };
  const healing = createHealing({ history: broker.history, metrics, boundsOf, onProgress, onError });

  const positions = createPositionReader(broker.history);
  const comparison = createComparison({ history: broker.history, heal: (channel) => healing.heal(channel), onError });

  const closeChannel = (channel: ChannelState): void => {
    if (channel.status !== 'opening') onAudience(channel.name, false);
    channel.status = 'closed';
    releaseHeld(channel);
    channels.delete(channel.name);
    onClosed(channel);
    broker.unsubscribe(channel.name).catch((error: unknown) => {
      // A lost connection has no subscriptions left to end.
      if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'unsubscribe' });
    });
  };

  const open = (channel: ChannelState): Promise<void> =>
    broker
      .subscribe(channel.name)
      .then(() => positions.read(channel.name))
      .then((position) => {
        channel.log.open(position);
        channel.status = 'live';
        onAudience(channel.name, true);
        if (!joinHeld(channel)) healing.heal(channel);
        // Nobody subscribes yet: what was held is history for those who come now.
        channel.flushedSeq = channel.log.nextSeq;
        channel.sentSeq = channel.log.nextSeq;
      })
      .catch((error: unknown) => {
        closeChannel(channel);
        throw error;
      })
      .finally(() => openings.delete(channel));

  const attach = (subscriber: Subscriber, channel: ChannelState, order: StartOrder): Attached | Promise<Attached> => {
    const { log } = channel;
    const { since, policy, window } = order;
    const ackWindow = policy === 'ack' ? new AckWindow(window) : null;
    const subscription = new Subscription(subscriber, channel, log.nextSeq, policy, ackWindow);
    const head = log.positionAt(log.nextSeq);
    subscriptionCount++;
    if (since !== undefined) return attachSince(subscription, since, head);
    if (policy === 'ack') catchUp.begin(subscription, head, null);
    else channel.add(subscription);
    return { subscription, position: head, recovered: true };
  };

  const attachSince = (
    subscription: Subscription,
    since: Since,
    head: ChannelPosition,
  ): Attached | Promise<Attached> => {
    const started = startCatchUp(catchUp, subscription, since);
    if (!(started instanceof Promise)) return { subscription, position: head, recovered: started.recovered };
    return started.then(
      ({ recovered, position }) => ({ subscription, position, recovered }),
      (error: unknown) => {
        unsubscribe(subscription);
        throw error;
      },
    );
  };

  const unsubscribe = (subscription: AnySubscription): void => {
    if (subscription instanceof EphemeralSubscription) {
      ephemeral.unsubscribe(subscription);
      return;
    }
    const { channel } = subscription;
    if (subscription.behind !== null) catchUp.forget(subscription);
    else if (subscription.index !== -1) channel.remove(subscription);
    else return;
    subscriptionCount--;
    closeWhenUnused(channel);
  };

  const closeWhenUnused = (channel: ChannelState): void => {
    if (channel.subscriptionCount === 0 && !openings.has(channel) && channel.status !== 'closed') {
      closeChannel(channel);
    }
  };

  const attachWhenOpen = async (
    subscriber: Subscriber,
    channel: ChannelState,
    order: StartOrder,
  ): Promise<Attached> => {
    await openings.get(channel)?.ready;
    if (channel.status === 'closed') return subscribe(subscriber, channel.name, order);
    return attach(subscriber, channel, order);
  };

  const subscribe = (subscriber: Subscriber, name: string, order: StartOrder = LIVE): Attached | Promise<Attached> => {
    let channel = channels.get(name);
    if (channel === undefined) {
      channel = new ChannelState(name, coalesceMsOf(name), heldOnNode);
      channels.set(name, channel);
      openings.set(channel, { ready: open(channel) });
    }
    return channel.status === 'opening'
      ? attachWhenOpen(subscriber, channel, order)
      : attach(subscriber, channel, order);
  };

  /**
   * A numbering nobody published to does not live long. Its successor then begins with the first publication, and nothing
   * lies between: this node has listened all the time, else it would be comparing or healing.
   */
  const beginsUnusedNumbering = ({ log }: ChannelState, run: PublicationRun): boolean =>
    log.head === 0 && run.epoch !== log.epoch && run.publications[0]?.offset === 1;

  const handlePublications = (run: PublicationRun): void => {
    const channel = channels.get(run.channel);
    if (channel === undefined) return;
    metrics.hot.publicationsReceived += run.publications.length;
    if (channel.status !== 'live') {
      hold(channel, run);
      return;
    }
    if (beginsUnusedNumbering(channel, run)) channel.log.changeEpoch({ epoch: run.epoch, offset: 0 }, 0);
    const outcome = channel.log.append(run);
    if (outcome === 'appended') markDirty(channel, run.publications.length);
    else if (outcome !== 'known') {
      hold(channel, run);
      healing.heal(channel);
    }
  };

  return {
    subscribe,
    subscribeEphemeral: (subscriber, channel) => ephemeral.subscribe(subscriber, channel),
    unsubscribe,
    positionOf(subscription) {
      if (subscription instanceof EphemeralSubscription) return NO_POSITION;
      const { channel, behind, cursor } = subscription;
      return behind?.position ?? channel.log.positionAt(cursor);
    },
    acknowledge(subscription, offset) {
      const { window, channel } = subscription;
      if (window === null) throw new Failure('badRequest', `ack: ${channel.name} is not subscribed with policy ack`);
      if (offset > window.newestSent) {
        throw new Failure('badRequest', `offset: expected at most ${window.newestSent}, which was sent last`);
      }
      window.acknowledge(offset);
      catchUp.wake(subscription);
    },
    *tails() {
      for (const { name, log } of channels.values()) {
        if (log.head > 0) yield { channel: name, epoch: log.epoch, offset: log.head, publications: log.newestRun() };
      }
    },
    heal: healing.heal,
    handlePublications,
    handleEphemeral: (run) => ephemeral.handleMessages(run),
    async handleRestored() {
      ephemeral.handleRestored();
      await comparison.run(channels.values());
      await healing.settled();
    },
    find: (channel) => channels.get(channel),
    channels: () => channels.values(),
    *audiences() {
      yield* channels.values();
      yield* ephemeral.channels();
    },
    subscribersOf: (channel) => (channels.get(channel) ?? ephemeral.find(channel))?.subscriptionCount ?? 0,
    get channelCount() {
      return channels.size + ephemeral.channelCount;
    },
    get subscriptionCount() {
      return subscriptionCount + ephemeral.subscriptionCount;
    },
    close() {
      comparison.close();
      healing.close();
    },
  };
};
