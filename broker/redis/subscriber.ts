// Topics this node listens to: batches SUBSCRIBE and UNSUBSCRIBE, hands messages to whoever asked, and subscribes anew on a new connection.
import type { Redis } from 'ioredis';
import { BrokerUnavailableError } from '../broker.ts';
import { driverError } from './driver-error.ts';
import { asError } from './link.ts';

/** A reply per topic is fine; one command with all of 50 000 would block the server for its length. */
const TOPICS_PER_COMMAND = 1_000;

export interface SubscriberOptions {
  readonly redis: () => Redis;
  readonly isUp: () => boolean;
  /** Sharded pub/sub: a command may name topics of one partition only. */
  readonly sharded: boolean;
  /** The connection no longer leads to where the topics live. */
  onLost(reason: string): void;
  /** The last of the topics that were taken over is confirmed. */
  onSettled(): void;
  onError(error: Error, stage: string): void;
}

export interface Subscriber {
  /**
   * Resolves when the server has confirmed. While not connected a new topic is refused at once, with
   * `BrokerUnavailableError`; a topic subscribed before stays so, is subscribed anew on the next connection, and resolves.
   * The message is only valid during the call of `receive`.
   */
  subscribe(topic: string, partition: number, receive: (message: Buffer) => void): Promise<void>;
  /** A topic for the whole life of the subscriber, named before the first connection. */
  keep(topic: string, partition: number, receive: (message: Buffer) => void): void;
  /** Nothing is received any more when it returns. Settles a subscribe of the same topic that is still open. */
  unsubscribe(topic: string): void;
  /** Subscribes everything on a new connection, before it counts as up. */
  prepare(redis: Redis): Promise<void>;
  onUp(): void;
  onDown(reason: string): void;
  /** Hands the topics of partitions out; they are not received here any more. Those still open are refused. */
  take(partitions: ReadonlySet<number>, reason: string): SubscriberEntry[];
  /** Topics that were confirmed elsewhere and stay subscribed whatever happens. */
  adopt(entries: readonly SubscriberEntry[]): void;
  /** False while topics that were taken over wait for their confirmation. */
  isSettled(): boolean;
  close(reason: string): void;
  /** Listens on the one connection; called once. */
  listen(redis: Redis): void;
}

export interface SubscriberEntry {
  readonly topic: string;
  readonly partition: number;
  readonly receive: (message: Buffer) => void;
  readonly confirmed: Promise<void>;
  /** Until the server has confirmed. */
  open: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
}

type Entry = SubscriberEntry;

/** Topics arrive as bytes; as Latin-1 they are looked up without decoding UTF-8. */
const lookupKey = (topic: string): string => Buffer.from(topic, 'utf8').toString('latin1');

const chunksOf = <T>(items: readonly T[], size: number): T[][] => {
  const chunks: T[][] = [];
  for (let at = 0; at < items.length; at += size) chunks.push(items.slice(at, at + size));
  return chunks;
};

const createEntry = (topic: string, partition: number, receive: Entry['receive']): Entry => {
  let open: Entry['open'];
  const confirmed = new Promise<void>((resolve, reject) => (open = { resolve, reject }));
  return { topic, partition, receive, confirmed, open };
};

type Changed = Pick<Entry, 'topic' | 'partition'>;

const resolveOpen = (entry: Entry): void => {
  entry.open?.resolve();
  entry.open = undefined;
};

export const createSubscriber = (options: SubscriberOptions): Subscriber => {
  // What should be, by lookup key.
  const wanted = new Map<string, Entry>();
  // What the server will hold once it has seen all that was sent on this connection.
  const sent = new Set<string>();
  // Taken over and not confirmed here yet.
  const unsettled = new Set<string>();
  // Touched in this tick.
  const changed = new Map<string, Changed>();
  let scheduled = false;

  const refuse = (key: string, error: Error): void => {
    const entry = wanted.get(key);
    if (entry?.open === undefined) return;
    wanted.delete(key);
    entry.open.reject(error);
    entry.open = undefined;
  };

  const settle = (key: string): void => {
    if (unsettled.delete(key) && unsettled.size === 0) options.onSettled();
  };

  const confirm = (entries: readonly Entry[]): void => {
    for (const entry of entries) {
      resolveOpen(entry);
      settle(lookupKey(entry.topic));
    }
  };

  const batchesOf = <T>(items: readonly T[], partitionOf: (item: T) => number): T[][] => {
    if (!options.sharded) return chunksOf(items, TOPICS_PER_COMMAND);
    const groups = new Map<number, T[]>();
    for (const item of items) {
      const group = groups.get(partitionOf(item));
      if (group === undefined) groups.set(partitionOf(item), [item]);
      else group.push(item);
    }
    return [...groups.values()].flatMap((group) => chunksOf(group, TOPICS_PER_COMMAND));
  };

  const commandSubscribe = (redis: Redis, entries: readonly Entry[]): Promise<unknown> => {
    const topics = entries.map((entry) => entry.topic);
    return options.sharded ? redis.ssubscribe(...topics) : redis.subscribe(...topics);
  };

  const sendSubscribe = (entries: readonly Entry[]): void => {
    commandSubscribe(options.redis(), entries).then(
      () => confirm(entries),
      (thrown: unknown) => {
        const cause = driverError(thrown);
        const error = new BrokerUnavailableError('the subscription was not confirmed', { cause });
        let known = false;
        for (const entry of entries) {
          const key = lookupKey(entry.topic);
          if (wanted.get(key) !== entry) continue;
          known ||= unsettled.has(key);
          refuse(key, error);
        }
        if (known && options.isUp()) options.onLost('a subscription that was taken over was refused');
      },
    );
  };

  const flush = (): void => {
    scheduled = false;
    // Sent after the connection is back; new topics of a lost connection were refused already.
    if (!options.isUp()) return;
    const subscribe: Entry[] = [];
    const unsubscribe: Changed[] = [];
    for (const [key, touched] of changed) {
      const entry = wanted.get(key);
      if (entry === undefined) {
        if (sent.delete(key)) unsubscribe.push(touched);
      } else if (entry.open !== undefined || unsettled.has(key)) {
        // Also when the server holds it: its answer is the confirmation.
        sent.add(key);
        subscribe.push(entry);
      }
    }
    changed.clear();
    for (const batch of batchesOf(unsubscribe, ({ partition }) => partition)) {
      const topics = batch.map(({ topic }) => topic);
      const redis = options.redis();
      (options.sharded ? redis.sunsubscribe(...topics) : redis.unsubscribe(...topics)).catch((error: unknown) =>
        options.onError(driverError(error), 'redis.unsubscribe'),
      );
    }
    for (const entries of batchesOf(subscribe, ({ partition }) => partition)) sendSubscribe(entries);
  };

  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };

  const onDown = (reason: string): void => {
    sent.clear();
    const error = new BrokerUnavailableError(reason);
    // Also those that were sent: ioredis never settles a SSUBSCRIBE that was answered MOVED.
    for (const key of wanted.keys()) refuse(key, error);
    changed.clear();
  };

  return {
    subscribe(topic, partition, receive) {
      const key = lookupKey(topic);
      const known = wanted.get(key);
      if (known !== undefined) return known.confirmed;
      if (!options.isUp()) return Promise.reject(new BrokerUnavailableError('not connected to Redis'));
      const entry = createEntry(topic, partition, receive);
      wanted.set(key, entry);
      changed.set(key, entry);
      schedule();
      return entry.confirmed;
    },
    keep(topic, partition, receive) {
      wanted.set(lookupKey(topic), { topic, partition, receive, confirmed: Promise.resolve(), open: undefined });
    },
    unsubscribe(topic) {
      const key = lookupKey(topic);
      const entry = wanted.get(key);
      if (entry === undefined) return;
      wanted.delete(key);
      resolveOpen(entry);
      settle(key);
      changed.set(key, entry);
      schedule();
    },
    async prepare(redis) {
      const batches = batchesOf([...wanted.values()], ({ partition }) => partition);
      for (const entry of wanted.values()) sent.add(lookupKey(entry.topic));
      await Promise.all(batches.map((entries) => commandSubscribe(redis, entries).then(() => confirm(entries))));
    },
    onUp: schedule,
    onDown,
    take(partitions, reason) {
      const error = new BrokerUnavailableError(reason);
      const taken: Entry[] = [];
      for (const [key, entry] of wanted) {
        if (!partitions.has(entry.partition)) continue;
        refuse(key, error);
        if (wanted.delete(key)) taken.push(entry);
        sent.delete(key);
        changed.delete(key);
        unsettled.delete(key);
      }
      return taken;
    },
    adopt(entries) {
      for (const entry of entries) {
        const key = lookupKey(entry.topic);
        wanted.set(key, entry);
        unsettled.add(key);
        changed.set(key, entry);
      }
      schedule();
    },
    isSettled: () => unsettled.size === 0,
    close(reason) {
      onDown(reason);
      wanted.clear();
      unsettled.clear();
    },
    listen(redis) {
      // What ioredis tells instead of settling the command.
      redis.on('moved', () => options.onLost('a topic moved to another server'));
      redis.on(options.sharded ? 'smessageBuffer' : 'messageBuffer', (topic: Buffer, message: Buffer) => {
        try {
          wanted.get(topic.toString('latin1'))?.receive(message);
        } catch (error) {
          options.onError(asError(error), 'redis.deliver');
        }
      });
    },
  };
};
