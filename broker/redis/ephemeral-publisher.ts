// Sends ephemeral messages by plain pub/sub: what one tick brings for a channel leaves as one message.
import type { Redis } from 'ioredis';
import { BrokerUnavailableError } from '../broker.ts';
import type { EphemeralRequest } from '../publication.ts';
import { driverError } from './driver-error.ts';
import { sendOnce } from './forgetful-command.ts';
import type { KeySpace } from './keys.ts';
import { encodeEphemeral, keyBytesOf, recordBytes } from './record.ts';

/** Bytes that wait or are under way beyond which messages are refused. */
const MAX_OUTSTANDING_BYTES = 16 * 1024 * 1024;
/** One message to the nodes holds at most this, unless a single one is larger: their pub/sub buffers are bounded. Bytes. */
const MAX_MESSAGE_BYTES = 256 * 1024;

export interface EphemeralPublisherOptions {
  readonly keySpace: KeySpace;
  readonly publishTimeoutMs: number;
  readonly redis: () => Redis;
  readonly isUp: () => boolean;
}

export interface EphemeralPublisher {
  /** Contract: `Broker.publishEphemeral`. */
  publish(request: EphemeralRequest): Promise<void>;
}

interface Batch {
  readonly requests: EphemeralRequest[];
  bytes: number;
  readonly settled: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const createBatch = (): Batch => {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const settled = new Promise<void>((done, fail) => {
    resolve = done;
    reject = fail;
  });
  return { requests: [], bytes: 0, settled, resolve, reject };
};

export const createEphemeralPublisher = (options: EphemeralPublisherOptions): EphemeralPublisher => {
  const { keySpace, publishTimeoutMs, redis, isUp } = options;
  /** Of this tick: complete ones, and the one of each channel that still takes. */
  let batches: Batch[] = [];
  let open = new Map<string, Batch>();
  let outstandingBytes = 0;

  const send = (batch: Batch): void => {
    const topic = keySpace.of(batch.requests[0]!.channel).topic;
    const message = encodeEphemeral(batch.requests);
    const timer = setTimeout(
      () => batch.reject(new BrokerUnavailableError(`no answer to a publish within ${publishTimeoutMs} ms`)),
      publishTimeoutMs,
    );
    sendOnce(redis(), keySpace.notifyCommand, [topic, message])
      .then(batch.resolve, (error: unknown) => {
        batch.reject(
          new BrokerUnavailableError('Redis refused, or the connection failed', { cause: driverError(error) }),
        );
      })
      .finally(() => {
        clearTimeout(timer);
        outstandingBytes -= batch.bytes;
      });
  };

  const flush = (): void => {
    const leaving = batches;
    batches = [];
    open = new Map();
    for (const batch of leaving) send(batch);
  };

  return {
    publish(request) {
      if (!isUp()) return Promise.reject(new BrokerUnavailableError('not connected to Redis'));
      const bytes = recordBytes(keyBytesOf(request.key), request.body.length);
      if (outstandingBytes > 0 && outstandingBytes + bytes > MAX_OUTSTANDING_BYTES) {
        return Promise.reject(new BrokerUnavailableError('too many ephemeral messages wait for Redis'));
      }
      let batch = open.get(request.channel);
      if (batch === undefined || batch.bytes + bytes > MAX_MESSAGE_BYTES) {
        batch = createBatch();
        open.set(request.channel, batch);
        if (batches.push(batch) === 1) setImmediate(flush);
      }
      batch.requests.push(request);
      batch.bytes += bytes;
      outstandingBytes += bytes;
      return batch.settled;
    },
  };
};
