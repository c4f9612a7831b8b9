// Who on this node listens to which channel, and the way of a publication from the backplane into their channel logs.
//
// A channel lives here while it has subscriptions. Opening it means: subscribe at the broker first, then read the head;
// whatever arrives in between is held and joins, so there is no moment at which a publication can slip through.
import { type Broker, BrokerUnavailableError, type ChannelPosition, type PublicationRun } from '../../broker/broker.ts';
import type { HistoryBounds } from '../../broker/publication.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { ChannelState, type Subscriber, Subscription } from './channel-state.ts';
import type { Dispatcher } from './dispatcher.ts';
import { createHealing, hold, joinHeld } from './healing.ts';

/** Channels whose positions are asked for in one round trip. */
const POSITIONS_PER_CALL = 500;

export interface HubOptions {
  readonly broker: Broker;
  readonly dispatcher: Dispatcher;
  readonly metrics: MetricsRegistry;
  readonly boundsOf: (channel: string) => HistoryBounds;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

/** A new subscription and the position it starts after, taken in the same instant. */
export interface Attached {
  readonly subscription: Subscription;
  readonly position: ChannelPosition;
}

export interface Hub {
  /**
   * Adds a live subscription whose cursor stands at the head. At once when the channel is live on this node, otherwise
   * after it was opened. Rejects with `BrokerUnavailableError` when it cannot be opened.
   */
  subscribe(subscriber: Subscriber, channel: string): Attached | Promise<Attached>;
  /** Ends a subscription; nothing is sent for it afterwards. Idempotent. */
  unsubscribe(subscription: Subscription): void;
  /** Delivers what came from the backplane; never publishes. */
  handlePublications(run: PublicationRun): void;
  /** The way from the backplane was interrupted and works again: compare every channel with the broker, heal the differing. */
  handleRestored(): void;
  find(channel: string): ChannelState | undefined;
  channels(): Iterable<ChannelState>;
  readonly channelCount: number;
  readonly subscriptionCount: number;
  close(): void;
}

interface Opening {
  readonly ready: Promise<void>;
}

export const createHub = ({ broker, dispatcher, metrics, boundsOf, onError }: HubOptions): Hub => {
  const channels = new Map<string, ChannelState>();
  const openings = new Map<ChannelState, Opening>();
  let subscriptionCount = 0;

  const onProgress = (channel: ChannelState): void => {
    if (channel.log.nextSeq !== channel.flushedSeq) dispatcher.markDirty(channel);
  };
  const healing = createHealing({ history: broker.history, metrics, boundsOf, onProgress, onError });

  /** Positions of all channels that are opened in one tick are read together. */
  let asked: { channel: string; resolve: (position: ChannelPosition) => void; reject: (error: Error) => void }[] = [];
  const readAsked = (): void => {
    const questions = asked;
    asked = [];
    for (let start = 0; start < questions.length; start += POSITIONS_PER_CALL) {
      const part = questions.slice(start, start + POSITIONS_PER_CALL);
      broker.history.positions(part.map((question) => question.channel)).then(
        (positions) => part.forEach((question, index) => question.resolve(positions[index]!)),
        (error: unknown) => part.forEach((question) => question.reject(error as Error)),
      );
    }
  };
  const readPosition = (channel: string): Promise<ChannelPosition> =>
    new Promise((resolve, reject) => {
      asked.push({ channel, resolve, reject });
      if (asked.length === 1) setImmediate(readAsked);
    });

  const closeChannel = (channel: ChannelState): void => {
    channel.status = 'closed';
    channel.held = [];
    channels.delete(channel.name);
    broker.unsubscribe(channel.name).catch((error: unknown) => {
      // A lost connection has no subscriptions left to end.
      if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'unsubscribe' });
    });
  };

  const open = (channel: ChannelState): Promise<void> =>
    broker
      .subscribe(channel.name)
      .then(() => readPosition(channel.name))
      .then((position) => {
        channel.log.open(position);
        channel.status = 'live';
        if (!joinHeld(channel)) healing.heal(channel);
        // Nobody subscribes yet: what was held is history for those who come now.
        channel.log.forget(channel.log.nextSeq);
        channel.flushedSeq = channel.log.nextSeq;
      })
      .catch((error: unknown) => {
        closeChannel(channel);
        throw error;
      })
      .finally(() => openings.delete(channel));

  const attach = (subscriber: Subscriber, channel: ChannelState): Attached => {
    const subscription = new Subscription(subscriber, channel, channel.log.nextSeq);
    channel.add(subscription);
    subscriptionCount++;
    return { subscription, position: { epoch: channel.log.epoch, offset: channel.log.head } };
  };

  const closeWhenUnused = (channel: ChannelState): void => {
    if (channel.subscriptions.length === 0 && !openings.has(channel) && channel.status !== 'closed') {
      closeChannel(channel);
    }
  };

  const attachWhenOpen = async (subscriber: Subscriber, channel: ChannelState): Promise<Attached> => {
    await openings.get(channel)?.ready;
    if (channel.status === 'closed') return subscribe(subscriber, channel.name);
    return attach(subscriber, channel);
  };

  const subscribe = (subscriber: Subscriber, name: string): Attached | Promise<Attached> => {
    let channel = channels.get(name);
    if (channel === undefined) {
      channel = new ChannelState(name);
      channels.set(name, channel);
      openings.set(channel, { ready: open(channel) });
    }
    return channel.status === 'opening' ? attachWhenOpen(subscriber, channel) : attach(subscriber, channel);
  };

  const handlePublications = (run: PublicationRun): void => {
    const channel = channels.get(run.channel);
    if (channel === undefined) return;
    metrics.hot.publicationsReceived += run.publications.length;
    if (channel.status !== 'live') {
      hold(channel, run);
      return;
    }
    const outcome = channel.log.append(run);
    if (outcome === 'appended') dispatcher.markDirty(channel);
    else if (outcome !== 'known') {
      healing.heal(channel);
      hold(channel, run);
    }
  };

  const compare = async (part: readonly ChannelState[]): Promise<void> => {
    const positions = await broker.history.positions(part.map((channel) => channel.name));
    part.forEach((channel, index) => {
      const position = positions[index]!;
      if (channel.status !== 'live') return;
      if (position.epoch !== channel.log.epoch || position.offset > channel.log.head) healing.heal(channel);
    });
  };

  return {
    subscribe,
    unsubscribe(subscription) {
      if (subscription.index === -1) return;
      subscription.channel.remove(subscription);
      subscriptionCount--;
      closeWhenUnused(subscription.channel);
    },
    handlePublications,
    handleRestored() {
      const live = [...channels.values()].filter((channel) => channel.status === 'live');
      for (let start = 0; start < live.length; start += POSITIONS_PER_CALL) {
        const part = live.slice(start, start + POSITIONS_PER_CALL);
        compare(part).catch(() => {
          // The comparison itself failed: heal them all, which retries until the broker answers.
          for (const channel of part) healing.heal(channel);
        });
      }
    },
    find: (channel) => channels.get(channel),
    channels: () => channels.values(),
    get channelCount() {
      return channels.size;
    },
    get subscriptionCount() {
      return subscriptionCount;
    },
    close() {
      healing.close();
    },
  };
};
