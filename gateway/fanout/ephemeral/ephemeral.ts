// Channels of class `ephemeral`: who listens, and what a slow one misses is counted.
//
// A member whose socket is over HIGH leaves the engine's topic (`turns.ts`). What it misses from then on is the difference of its
// cell's counter, told in one `gap` when the socket has drained; then it joins the topic again.
import { type Broker, BrokerUnavailableError, type EphemeralRun } from '../../../broker/broker.ts';
import { LOW_BYTES } from '../catch-up.ts';
import type { Subscriber } from '../channel-state.ts';
import { EphemeralChannel, type EphemeralSubscription } from './ephemeral-channel.ts';
import { createEphemeralTurns, type EphemeralTurnsOptions, gapFrame } from './turns.ts';
import { createWaitingAccount } from './waiting-messages.ts';

export interface EphemeralOptions extends Omit<EphemeralTurnsOptions, 'fallBehind'> {
  readonly broker: Pick<Broker, 'subscribe' | 'unsubscribe'>;
  /** What all channels together may have waiting for their turn, bytes. */
  readonly maxWaitingBytes: number;
  /** So much more waits, or less, bytes. */
  readonly onCharged: (bytes: number) => void;
  /** See `HubOptions`. */
  readonly onAudience: (channel: string, isThere: boolean) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Ephemeral {
  /** Rejects with `BrokerUnavailableError`. */
  subscribe(subscriber: Subscriber, channel: string): EphemeralSubscription | Promise<EphemeralSubscription>;
  /** Idempotent. */
  unsubscribe(subscription: EphemeralSubscription): void;
  handleMessages(run: EphemeralRun): void;
  /** The way from the backplane was interrupted: every member is told that an unknown number is missing. */
  handleRestored(): void;
  /** The socket's backlog shrank. */
  handleDrain(subscriber: Subscriber): void;
  find(channel: string): EphemeralChannel | undefined;
  channels(): Iterable<EphemeralChannel>;
  readonly channelCount: number;
  readonly subscriptionCount: number;
  close(): void;
}

export const createEphemeral = (options: EphemeralOptions): Ephemeral => {
  const { broker, metrics, maxWaitingBytes, onCharged, onAudience, onError } = options;
  const channels = new Map<string, EphemeralChannel>();
  const account = createWaitingAccount(maxWaitingBytes, onCharged);
  /** Members that do not receive, by their connection. */
  const behind = new Map<Subscriber, Set<EphemeralSubscription>>();
  let subscriptionCount = 0;

  const fallBehind = (member: EphemeralSubscription): void => {
    const { subscriber, cell } = member;
    if (member.native) subscriber.unlisten(member.topic);
    member.missedFrom = cell.handed;
    const others = behind.get(subscriber);
    if (others === undefined) behind.set(subscriber, new Set([member]));
    else others.add(member);
  };
  const turns = createEphemeralTurns({ ...options, fallBehind });

  metrics.gauge('weir_ephemeral_behind', () => {
    let sum = 0;
    for (const members of behind.values()) sum += members.size;
    return sum;
  });

  /** Takes it off the list of those behind and returns what it missed. */
  const settle = (member: EphemeralSubscription): number => {
    const missed = member.cell.handed - (member.missedFrom ?? member.cell.handed);
    const others = behind.get(member.subscriber);
    others?.delete(member);
    if (others?.size === 0) behind.delete(member.subscriber);
    member.missedFrom = undefined;
    if (missed > 0) metrics.count('weir_messages_dropped_total', { reason: 'behind' }, missed);
    return missed;
  };

  const comeBack = (member: EphemeralSubscription): void => {
    const { subscriber, channel } = member;
    const missed = settle(member);
    if (missed > 0 || member.missedUnknown) {
      metrics.count('weir_gaps_total', { reason: 'dropped' });
      subscriber.sendFrame(gapFrame(subscriber.dialect, channel, member.missedUnknown ? null : missed));
    }
    member.missedUnknown = false;
    member.native = subscriber.listen(member.topic);
  };

  const closeChannel = (channel: EphemeralChannel): void => {
    if (channel.status === 'open') onAudience(channel.name, false);
    channel.status = 'closed';
    channel.waiting.clear();
    turns.forget(channel);
    channels.delete(channel.name);
    broker.unsubscribe(channel.name).catch((error: unknown) => {
      if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'unsubscribe' });
    });
  };

  const open = (channel: EphemeralChannel): Promise<void> =>
    broker.subscribe(channel.name).then(
      () => {
        channel.status = 'open';
        onAudience(channel.name, true);
      },
      (error: unknown) => {
        closeChannel(channel);
        throw error;
      },
    );

  const attach = (subscriber: Subscriber, channel: EphemeralChannel): EphemeralSubscription => {
    const member = channel.add(subscriber);
    subscriptionCount++;
    member.native = subscriber.listen(member.topic);
    return member;
  };

  const subscribe = (subscriber: Subscriber, name: string): EphemeralSubscription | Promise<EphemeralSubscription> => {
    let channel = channels.get(name);
    if (channel === undefined) {
      channel = new EphemeralChannel(name, account);
      channels.set(name, channel);
      channel.opening = open(channel);
    }
    const opened = channel;
    if (opened.status === 'open') return attach(subscriber, opened);
    // It may be closed again by the time it is open: who waited with us may have left.
    return opened.opening!.then(() =>
      opened.status === 'open' ? attach(subscriber, opened) : subscribe(subscriber, name),
    );
  };

  return {
    subscribe,
    unsubscribe(member) {
      const { subscriber, channel } = member;
      if (!channel.remove(member)) return;
      subscriptionCount--;
      if (!member.receives) settle(member);
      else if (member.native) subscriber.unlisten(member.topic);
      if (channel.subscriptionCount === 0) closeChannel(channel);
    },
    handleMessages(run) {
      const channel = channels.get(run.channel);
      if (channel?.status !== 'open') return;
      metrics.hot.publicationsReceived += run.messages.length;
      channel.accept(run);
      turns.markDirty(channel);
    },
    handleRestored() {
      for (const channel of channels.values()) {
        if (channel.status !== 'open') continue;
        channel.waiting.interrupt();
        turns.markDirty(channel);
      }
    },
    handleDrain(subscriber) {
      const members = behind.get(subscriber);
      if (members === undefined || subscriber.bufferedBytes() > LOW_BYTES) return;
      subscriber.cork(() => {
        for (const member of [...members]) comeBack(member);
      });
    },
    find: (channel) => channels.get(channel),
    channels: () => channels.values(),
    get channelCount() {
      return channels.size;
    },
    get subscriptionCount() {
      return subscriptionCount;
    },
    close: () => turns.close(),
  };
};
