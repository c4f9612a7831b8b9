// Publishes on their way: in order, bounded, each with a messageId it keeps until it is answered.
import { IDEMPOTENCY_WINDOW_MS } from '../../../protocol/limits.ts';
import type { Cancel, Clock } from '../clock.ts';
import { badRequest, CONNECTION_LOST, outcomeUnknown, queueOverflow, WeirError } from '../errors.ts';
import { byteLength, encodeFields } from '../protocol/codec.ts';
import type { Published } from '../protocol/wire.ts';
import type { ReconnectStrategy } from '../reconnect/strategy.ts';
import type { Connection } from '../session/connection.ts';

export interface PublishOptions {
  /** Conflation key. */
  key?: string;
  /** Idempotency key, at most 200 characters; generated when absent. */
  messageId?: string;
}

/** Where the message is in the log; ephemeral channels have no positions. `duplicate`: an earlier attempt got it there. */
export type PublishResult = Omit<Published, 'type' | 'id'>;

export interface PublishLimits {
  /** Publishes waiting or unanswered. */
  maxMessages: number;
  /** Bytes of them. */
  maxBytes: number;
  /** How often one is sent before a temporary error is final; lost connections and rate limits do not count. */
  maxAttempts: number;
  /** Publishes wait while the socket has more bytes than this to send. */
  maxBufferedBytes: number;
}

export interface PublishQueueSetup {
  clock: Clock;
  random(): number;
  createId(): string;
  strategy: ReconnectStrategy;
  limits: PublishLimits;
}

export interface PublishQueue {
  publish(channel: string, data: unknown, options: PublishOptions): Promise<PublishResult>;
  attach(connection: Connection): void;
  detach(connection: Connection): void;
  /** Sends what may be sent now. */
  pump(): void;
  rejectAll(error: WeirError): void;
}

interface Item {
  order: number;
  fields: string;
  bytes: number;
  attempts: number;
  firstSentMs: number | undefined;
  resolve(result: PublishResult): void;
  reject(error: WeirError): void;
}

/**
 * Of what is sent and unanswered; one publish may go over the bytes. Well below what a node holds for one connection: beyond that it
 * refuses, and a refused publish is overtaken by those behind it.
 */
const MAX_UNANSWERED = 512;
const MAX_UNANSWERED_BYTES = 1_048_576;

/** A rate is kept by waiting, however often: the window in which a repetition is safe bounds it. */
const TOO_MANY_REQUESTS = 111;

/** Sockets do not tell when their buffer empties, so a full one is looked at again after this long, ms. */
const BUFFER_POLL_MS = 10;

export const createPublishQueue = ({ clock, random, createId, strategy, limits }: PublishQueueSetup): PublishQueue => {
  const live = new Set<Item>();
  let waiting: Item[] = [];
  let bytes = 0;
  let unansweredBytes = 0;
  let lastOrder = 0;
  let connection: Connection | undefined;
  /** Set while all publishes wait after a temporary error. */
  let paused: Cancel | undefined;
  /** Set while a look at the full buffer is due. */
  let polling: Cancel | undefined;

  const forget = (item: Item): void => {
    if (live.delete(item)) bytes -= item.bytes;
  };
  const fail = (item: Item, error: WeirError): void => {
    forget(item);
    item.reject(error);
  };
  const requeue = (item: Item): void => {
    const index = waiting.findLastIndex((other) => other.order < item.order);
    waiting.splice(index + 1, 0, item);
  };
  const pause = (delayMs: number): void => {
    paused?.();
    paused = clock.after(delayMs, () => {
      paused = undefined;
      pump();
    });
  };

  const handleOutcome = (item: Item, outcome: Published | WeirError): void => {
    unansweredBytes -= item.bytes;
    if (!live.has(item)) return;
    if (!(outcome instanceof WeirError)) {
      forget(item);
      const { channel, epoch, offset, duplicate } = outcome;
      item.resolve({ channel, epoch, offset, duplicate });
      pump();
    } else if (outcome.code === CONNECTION_LOST) {
      // Sent again on the next connection; the server knows the messageId and answers with the same position.
      requeue(item);
    } else if (outcome.temporary && (outcome.code === TOO_MANY_REQUESTS || ++item.attempts < limits.maxAttempts)) {
      requeue(item);
      pause(outcome.retryAfterMs ?? strategy(item.attempts, random));
    } else {
      fail(item, outcome);
      pump();
    }
  };

  const pump = (): void => {
    while (
      connection &&
      !paused &&
      waiting.length > 0 &&
      live.size - waiting.length < MAX_UNANSWERED &&
      unansweredBytes < MAX_UNANSWERED_BYTES
    ) {
      if (connection.bufferedBytes > limits.maxBufferedBytes) {
        polling ??= clock.after(BUFFER_POLL_MS, () => {
          polling = undefined;
          pump();
        });
        return;
      }
      const item = waiting.shift()!;
      item.firstSentMs ??= clock.now();
      if (clock.now() - item.firstSentMs > IDEMPOTENCY_WINDOW_MS) fail(item, outcomeUnknown());
      else {
        unansweredBytes += item.bytes;
        connection.requestEncoded('publish', item.fields, (outcome) => handleOutcome(item, outcome));
      }
    }
  };

  const enqueue = (fields: string): Promise<PublishResult> =>
    new Promise((resolve, reject) => {
      const size = byteLength(fields);
      if (live.size >= limits.maxMessages || bytes + size > limits.maxBytes) throw queueOverflow();
      bytes += size;
      const item = { order: ++lastOrder, fields, bytes: size, attempts: 0, firstSentMs: undefined, resolve, reject };
      live.add(item);
      waiting.push(item);
      pump();
    });

  return {
    publish: async (channel, data, { key, messageId = createId() }) => {
      let fields: string;
      try {
        // Encoded now: later changes of `data` must not reach a retry. `undefined` has no JSON and becomes null.
        fields = encodeFields({ channel, data: data ?? null, ...(key !== undefined && { key }), messageId });
      } catch (error) {
        throw badRequest(error);
      }
      return enqueue(fields);
    },
    attach: (next) => {
      connection = next;
      pump();
    },
    detach: (gone) => {
      if (connection === gone) connection = undefined;
    },
    pump,
    rejectAll: (error) => {
      waiting = [];
      paused?.();
      polling?.();
      paused = polling = undefined;
      for (const item of [...live]) fail(item, error);
    },
  };
};
