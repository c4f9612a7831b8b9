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
  onError(error: Error, stage: string): void;
}

export interface Subscriber {
  /**
   * Resolves when the server has confirmed. While not connected a new topic is refused at once, with
   * `BrokerUnavailableError`; a topic subscribed before stays so, is subscribed anew on the next connection, and resolves.
   * The message is only valid during the call of `receive`.
   */
  subscribe(topic: string, receive: (message: Buffer) => void): Promise<void>;
  /** A topic for the whole life of the subscriber, named before the first connection. */
  keep(topic: string, receive: (message: Buffer) => void): void;
  /** Nothing is received any more when it returns. Settles a subscribe of the same topic that is still open. */
  unsubscribe(topic: string): void;
  /** Subscribes everything on a new connection, before it counts as up. */
  prepare(redis: Redis): Promise<void>;
  onUp(): void;
  onDown(reason: string): void;
  close(): void;
  /** Listens on the one connection; called once. */
  listen(redis: Redis): void;
}

interface Entry {
  readonly topic: string;
  readonly receive: (message: Buffer) => void;
  readonly confirmed: Promise<void>;
  /** Until the server has confirmed. */
  open: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
}

/** Topics arrive as bytes; as Latin-1 they are looked up without decoding UTF-8. */
const lookupKey = (topic: string): string => Buffer.from(topic, 'utf8').toString('latin1');

const chunksOf = <T>(items: readonly T[], size: number): T[][] => {
  const chunks: T[][] = [];
  for (let at = 0; at < items.length; at += size) chunks.push(items.slice(at, at + size));
  return chunks;
};

const createEntry = (topic: string, receive: Entry['receive']): Entry => {
  let open: Entry['open'];
  const confirmed = new Promise<void>((resolve, reject) => (open = { resolve, reject }));
  return { topic, receive, confirmed, open };
};

const resolveOpen = (entry: Entry): void => {
  entry.open?.resolve();
  entry.open = undefined;
};

export const createSubscriber = (options: SubscriberOptions): Subscriber => {
  // What should be, by lookup key.
  const wanted = new Map<string, Entry>();
  // What the server will hold once it has seen all that was sent on this connection.
  const sent = new Set<string>();
  // Touched in this tick.
  const changed = new Map<string, string>();
  let scheduled = false;

  const refuse = (key: string, error: Error): void => {
    const entry = wanted.get(key);
    if (entry?.open === undefined) return;
    wanted.delete(key);
    entry.open.reject(error);
    entry.open = undefined;
  };

  const sendSubscribe = (entries: readonly Entry[]): void => {
    options
      .redis()
      .subscribe(...entries.map((entry) => entry.topic))
      .then(
        () => {
          for (const entry of entries) resolveOpen(entry);
        },
        (thrown: unknown) => {
          const cause = driverError(thrown);
          const error = new BrokerUnavailableError('the subscription was not confirmed', { cause });
          for (const entry of entries) {
            const key = lookupKey(entry.topic);
            if (wanted.get(key) === entry) refuse(key, error);
          }
        },
      );
  };

  const flush = (): void => {
    scheduled = false;
    // Sent after the connection is back; new topics of a lost connection were refused already.
    if (!options.isUp()) return;
    const subscribe: Entry[] = [];
    const unsubscribe: string[] = [];
    for (const [key, topic] of changed) {
      const entry = wanted.get(key);
      if (entry === undefined) {
        if (sent.delete(key)) unsubscribe.push(topic);
      } else if (entry.open !== undefined) {
        // Also when the server holds it: its answer is the confirmation.
        sent.add(key);
        subscribe.push(entry);
      }
    }
    changed.clear();
    for (const topics of chunksOf(unsubscribe, TOPICS_PER_COMMAND)) {
      options
        .redis()
        .unsubscribe(...topics)
        .catch((error: unknown) => options.onError(driverError(error), 'redis.unsubscribe'));
    }
    for (const entries of chunksOf(subscribe, TOPICS_PER_COMMAND)) sendSubscribe(entries);
  };

  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };

  const onDown = (reason: string): void => {
    sent.clear();
    const error = new BrokerUnavailableError(reason);
    for (const key of changed.keys()) refuse(key, error);
    changed.clear();
  };

  return {
    subscribe(topic, receive) {
      const key = lookupKey(topic);
      const known = wanted.get(key);
      if (known !== undefined) return known.confirmed;
      if (!options.isUp()) return Promise.reject(new BrokerUnavailableError('not connected to Redis'));
      const entry = createEntry(topic, receive);
      wanted.set(key, entry);
      changed.set(key, topic);
      schedule();
      return entry.confirmed;
    },
    keep(topic, receive) {
      wanted.set(lookupKey(topic), { topic, receive, confirmed: Promise.resolve(), open: undefined });
    },
    unsubscribe(topic) {
      const key = lookupKey(topic);
      const entry = wanted.get(key);
      if (entry === undefined) return;
      wanted.delete(key);
      resolveOpen(entry);
      changed.set(key, topic);
      schedule();
    },
    async prepare(redis) {
      const entries = [...wanted];
      await Promise.all(
        chunksOf(entries, TOPICS_PER_COMMAND).map(async (chunk) => {
          for (const [key] of chunk) sent.add(key);
          await redis.subscribe(...chunk.map(([, entry]) => entry.topic));
          for (const [, entry] of chunk) resolveOpen(entry);
        }),
      );
    },
    onUp: schedule,
    onDown,
    close() {
      onDown('the broker is closed');
      wanted.clear();
    },
    listen(redis) {
      redis.on('messageBuffer', (topic: Buffer, message: Buffer) => {
        try {
          wanted.get(topic.toString('latin1'))?.receive(message);
        } catch (error) {
          options.onError(asError(error), 'redis.deliver');
        }
      });
    },
  };
};
