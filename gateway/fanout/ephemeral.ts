// Channels of class `ephemeral`: what arrives goes to the sockets that keep up, by the engine's own publish, and what a slow one misses is counted.
//
// The engine cannot tell whose socket did not take a frame, so it never gets into that position: before each turn every member's
// socket is looked at, and one over HIGH leaves the engine's topic. What it misses from then on is the difference of the channel's
// counter, told in one `gap` when its socket has drained. A turn hands over at most TURN_BYTES, far below the bound at which the
// engine throws frames away; should that happen all the same (a burst of replies), the connection ends with 3010.
import { type Broker, BrokerUnavailableError, type EphemeralMessage, type EphemeralRun } from '../../broker/broker.ts';
import type { Dialect } from '../dialects/dialect.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { HIGH_BYTES, LOW_BYTES } from './catch-up.ts';
import type { Subscriber } from './channel-state.ts';

/** What one turn hands to each socket; the rest waits for the next turn, when the sockets were looked at again. Bytes. */
const TURN_BYTES = 128 * 1024;
/** What one channel may have waiting for its turn, bytes; what comes beyond it is dropped for every member. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** The same for all channels of a node together. */
const MAX_WAITING_ON_NODE_BYTES = 32 * 1024 * 1024;

export class EphemeralSubscription {
  readonly subscriber: Subscriber;
  readonly channel: EphemeralChannel;
  readonly policy = 'all';
  readonly window = null;
  /** `channel.handed` when it stopped receiving; undefined while it receives. */
  missedFrom: number | undefined;
  /** While it did not receive, the node itself may have missed something: nobody knows how much. */
  missedUnknown = false;
  /** Whether the engine brings it the frames of the channel's topic. */
  native = false;

  constructor(subscriber: Subscriber, channel: EphemeralChannel) {
    this.subscriber = subscriber;
    this.channel = channel;
  }
}

export class EphemeralChannel {
  readonly name: string;
  readonly members = new Set<EphemeralSubscription>();
  status: 'opening' | 'open' | 'closed' = 'opening';
  opening: Promise<void> | undefined;
  /** Messages that every receiving member was handed, or told of, since the channel was opened. */
  handed = 0;
  waiting: EphemeralMessage[] = [];
  waitingBytes = 0;
  /** Dropped for everybody, behind what waits. */
  overrun = 0;
  dirty = false;

  constructor(name: string) {
    this.name = name;
  }

  get subscriptionCount(): number {
    return this.members.size;
  }
}

export interface EphemeralOptions {
  readonly broker: Pick<Broker, 'subscribe' | 'unsubscribe'>;
  readonly metrics: MetricsRegistry;
  /** Delay before the next turn, ms. */
  readonly delayMs: () => number;
  /** Hands a frame to every socket that listens to the topic (`Subscriber.listen`). */
  readonly publishNative: (topic: string, frame: Buffer) => void;
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

const topicOf = (dialect: Dialect, channel: string): string => `${dialect.name} ${channel}`;

const gapFrame = (dialect: Dialect, channel: string, count: number | null): Buffer =>
  Buffer.from(dialect.encode({ type: 'gap', channel, count, reason: 'dropped' }));

export const createEphemeral = (options: EphemeralOptions): Ephemeral => {
  const { broker, metrics, delayMs, publishNative, onAudience, onError } = options;
  const { hot } = metrics;
  const channels = new Map<string, EphemeralChannel>();
  /** Members that do not receive, by their connection. */
  const behind = new Map<Subscriber, Set<EphemeralSubscription>>();
  let dirty: EphemeralChannel[] = [];
  let waitingBytes = 0;
  let subscriptionCount = 0;
  let scheduled = false;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  metrics.gauge('weir_ephemeral_behind', () => {
    let sum = 0;
    for (const members of behind.values()) sum += members.size;
    return sum;
  });

  const isReceiving = ({ missedFrom }: EphemeralSubscription): boolean => missedFrom === undefined;

  const fallBehind = (member: EphemeralSubscription): void => {
    const { subscriber, channel } = member;
    if (member.native) subscriber.unlisten(topicOf(subscriber.dialect, channel.name));
    member.missedFrom = channel.handed;
    const others = behind.get(subscriber);
    if (others === undefined) behind.set(subscriber, new Set([member]));
    else others.add(member);
  };

  /** Takes it off the list of those behind and returns what it missed. */
  const account = (member: EphemeralSubscription): number => {
    const missed = member.channel.handed - (member.missedFrom ?? member.channel.handed);
    const others = behind.get(member.subscriber);
    others?.delete(member);
    if (others?.size === 0) behind.delete(member.subscriber);
    member.missedFrom = undefined;
    if (missed > 0) metrics.count('weir_messages_dropped_total', { reason: 'behind' }, missed);
    return missed;
  };

  const comeBack = (member: EphemeralSubscription): void => {
    const { subscriber, channel } = member;
    const missed = account(member);
    if (missed > 0 || member.missedUnknown) {
      metrics.count('weir_gaps_total', { reason: 'dropped' });
      subscriber.sendFrame(gapFrame(subscriber.dialect, channel.name, member.missedUnknown ? null : missed));
    }
    member.missedUnknown = false;
    member.native = subscriber.listen(topicOf(subscriber.dialect, channel.name));
  };

  /** Looks at every socket and says who receives: how many by each dialect's topic, and who needs frames of its own. */
  const audienceOf = (channel: EphemeralChannel) => {
    const native = new Map<Dialect, number>();
    const single: Subscriber[] = [];
    for (const member of channel.members) {
      if (!isReceiving(member)) continue;
      const { subscriber } = member;
      const buffered = subscriber.bufferedBytes();
      if (buffered === Infinity) subscriber.handleLostFrame();
      else if (buffered > HIGH_BYTES) fallBehind(member);
      else if (member.native) native.set(subscriber.dialect, (native.get(subscriber.dialect) ?? 0) + 1);
      else single.push(subscriber);
    }
    return { native, single };
  };

  /** The first messages that fit, at least one. */
  const takeWaiting = (channel: EphemeralChannel, budget: number): EphemeralMessage[] => {
    let bytes = 0;
    let count = 0;
    for (const { body } of channel.waiting) {
      if (count > 0 && bytes + body.length > budget) break;
      bytes += body.length;
      count++;
    }
    channel.waitingBytes -= bytes;
    waitingBytes -= bytes;
    return channel.waiting.splice(0, count);
  };

  /** Hands over what fits into the budget; returns the bytes each socket was handed. */
  const serve = (channel: EphemeralChannel, budget: number): number => {
    const { native, single } = audienceOf(channel);
    const messages = takeWaiting(channel, budget);
    // Without a position: dialects leave it out.
    const entries = messages.map(({ body, timeMs }) => ({ offset: 0, key: undefined, body, timeMs }));
    const overrun = channel.waiting.length === 0 ? channel.overrun : 0;
    channel.overrun -= overrun;
    channel.handed += messages.length + overrun;
    const frames = new Map<Dialect, readonly Buffer[]>();
    const framesOf = (dialect: Dialect): readonly Buffer[] => {
      let known = frames.get(dialect);
      if (known === undefined) {
        const batch = entries.length > 0 ? dialect.encodeBatch(channel.name, entries) : [];
        known = overrun > 0 ? [...batch, gapFrame(dialect, channel.name, overrun)] : batch;
        frames.set(dialect, known);
      }
      return known;
    };
    const count = (receivers: number, sent: readonly Buffer[]): void => {
      hot.deliveries += receivers * messages.length;
      hot.framesSent += receivers * sent.length;
      for (const { length } of sent) hot.bytesSent += receivers * length;
      if (overrun > 0) metrics.count('weir_messages_dropped_total', { reason: 'overrun' }, receivers * overrun);
    };
    for (const [dialect, receivers] of native) {
      for (const frame of framesOf(dialect)) publishNative(topicOf(dialect, channel.name), frame);
      count(receivers, framesOf(dialect));
    }
    for (const subscriber of single) {
      for (const frame of framesOf(subscriber.dialect)) subscriber.sendFrame(frame);
      count(1, framesOf(subscriber.dialect));
    }
    return messages.reduce((sum, { body }) => sum + body.length, 0);
  };

  const turn = (): void => {
    scheduled = false;
    if (closed) return;
    let budget = TURN_BYTES;
    const due = dirty;
    dirty = [];
    let next = 0;
    while (next < due.length && budget > 0) {
      const channel = due[next++]!;
      channel.dirty = false;
      if (channel.status !== 'open') continue;
      budget -= serve(channel, budget);
      // Behind the others, so that a busy channel does not keep a quiet one waiting.
      if (channel.waiting.length > 0) markDirty(channel);
    }
    if (next < due.length) dirty = due.slice(next).concat(dirty);
    if (dirty.length > 0) schedule(0);
  };

  const schedule = (ms: number): void => {
    if (scheduled || closed) return;
    scheduled = true;
    if (ms < 1) setImmediate(turn);
    else timer = setTimeout(turn, ms);
  };

  const markDirty = (channel: EphemeralChannel): void => {
    if (channel.dirty) return;
    channel.dirty = true;
    dirty.push(channel);
    schedule(delayMs());
  };

  const closeChannel = (channel: EphemeralChannel): void => {
    if (channel.status === 'open') onAudience(channel.name, false);
    channel.status = 'closed';
    channel.waiting = [];
    waitingBytes -= channel.waitingBytes;
    channel.waitingBytes = 0;
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
    const member = new EphemeralSubscription(subscriber, channel);
    channel.members.add(member);
    subscriptionCount++;
    member.native = subscriber.listen(topicOf(subscriber.dialect, channel.name));
    return member;
  };

  const subscribe = (subscriber: Subscriber, name: string): EphemeralSubscription | Promise<EphemeralSubscription> => {
    let channel = channels.get(name);
    if (channel === undefined) {
      channel = new EphemeralChannel(name);
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

  const isFull = (channel: EphemeralChannel): boolean =>
    channel.waitingBytes > MAX_WAITING_BYTES || waitingBytes > MAX_WAITING_ON_NODE_BYTES;

  return {
    subscribe,
    unsubscribe(member) {
      const { subscriber, channel } = member;
      if (!channel.members.delete(member)) return;
      subscriptionCount--;
      if (!isReceiving(member)) account(member);
      else if (member.native) subscriber.unlisten(topicOf(subscriber.dialect, channel.name));
      if (channel.members.size === 0) closeChannel(channel);
    },
    handleMessages({ channel: name, messages }) {
      const channel = channels.get(name);
      if (channel?.status !== 'open') return;
      hot.publicationsReceived += messages.length;
      for (const message of messages) {
        if (channel.overrun > 0 || isFull(channel)) channel.overrun++;
        else {
          channel.waiting.push(message);
          channel.waitingBytes += message.body.length;
          waitingBytes += message.body.length;
        }
      }
      markDirty(channel);
    },
    handleRestored() {
      for (const channel of channels.values()) {
        for (const member of channel.members) {
          if (!isReceiving(member)) member.missedUnknown = true;
          else {
            metrics.count('weir_gaps_total', { reason: 'dropped' });
            member.subscriber.sendFrame(gapFrame(member.subscriber.dialect, channel.name, null));
          }
        }
      }
    },
    handleDrain(subscriber) {
      const members = behind.get(subscriber);
      if (members === undefined || subscriber.bufferedBytes() > LOW_BYTES) return;
      for (const member of [...members]) comeBack(member);
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
      closed = true;
      clearTimeout(timer);
    },
  };
};
