// The publish path: collects publications, sends them in few script calls, and gives every caller an answer in time.
//
// Publications of one tick leave together. While enough calls are under way the batch grows instead (as Nagle's algorithm
// does), so that load raises the size of calls and not their number. One connection and calls answered in order keep the
// order per channel.
import { Command, type Redis } from 'ioredis';
import type { PublishResult } from '../broker.ts';
import type { PublishRequest } from '../publication.ts';
import type { KeySpace } from './keys.ts';
import { BrokerUnavailableError } from '../broker.ts';
import { groupByCallTarget } from './keys.ts';
import { asError } from './link.ts';
import {
  bytesOf,
  encodePublishCall,
  settleGroup,
  toPending,
  type PendingPublish,
  type PublishCall,
} from './publish-call.ts';
import { isNoScript, loadScript } from './script.ts';

const MAX_CALL_PUBLICATIONS = 256;
const MAX_CALL_BYTES = 1024 * 1024;
/** Calls under way from which on the batch grows. */
const MAX_CALLS = 2;
/** Records waiting for a call beyond which publishes are refused. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

export interface PublisherOptions {
  readonly keySpace: KeySpace;
  readonly randomId: () => string;
  readonly publishTimeoutMs: number;
  readonly numberingTtlMs: number;
  readonly idempotencyWindowMs: number;
  readonly redis: () => Redis;
  readonly isUp: () => boolean;
  /** The connection is of no use any more. */
  reset(reason: string): void;
  onError(error: Error, stage: string): void;
}

export interface Publisher {
  publish(request: PublishRequest): Promise<PublishResult>;
  /** On every new connection, before it counts as up. */
  prepare(redis: Redis): Promise<void>;
  /** Rejects everything that waits. Calls under way reject with their connection. */
  abandon(reason: string): void;
}

const unavailable = (message: string, cause?: unknown): BrokerUnavailableError =>
  new BrokerUnavailableError(message, cause === undefined ? undefined : { cause });

export const createPublisher = (options: PublisherOptions): Publisher => {
  const script = loadScript('publish.lua');
  let queue: PendingPublish[] = [];
  let queuedBytes = 0;
  let scheduled = false;
  let calls = 0;
  let epochCandidate = options.randomId();
  // Calls the server refused because it lost the script. Nothing else leaves before they were sent again, in order.
  let refused: PublishCall[] = [];
  let loading = false;

  const rejectAll = (publishes: readonly PendingPublish[], error: Error): void => {
    for (const publish of publishes) publish.reject(error);
  };

  const failCall = (call: PublishCall, error: Error): void => {
    for (const group of call.groups) rejectAll(group, error);
  };

  const settleCall = (call: PublishCall, lines: readonly string[]): void => {
    for (let i = 0; i < call.groups.length; i += 1) {
      const group = call.groups[i]!;
      const error = settleGroup(group, lines[i]!);
      if (error === undefined) continue;
      options.onError(error, 'redis.publish');
      rejectAll(group, unavailable('the publication was refused by Redis', error));
      // A replica after a failover: this connection will never write again.
      if (error.message.includes('READONLY')) options.reset('connected to a replica');
    }
    if (lines.some((line) => line.includes(epochCandidate))) epochCandidate = options.randomId();
  };

  const send = (call: PublishCall): void => {
    calls += 1;
    let settled = false;
    const settle = (work: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      calls -= 1;
      work();
      proceed();
    };
    const expire = (): void => {
      if (settled) return;
      const reason = `no answer to a publish within ${options.publishTimeoutMs} ms`;
      settle(() => failCall(call, unavailable(reason)));
      options.onError(new Error(reason), 'redis.publish');
      options.reset(reason);
    };
    // After the poll phase: an answer that waits in the socket behind a stalled event loop is not late.
    const timer = setTimeout(() => setImmediate(expire), options.publishTimeoutMs);

    const command = new Command('EVALSHA', [script.sha, '1', call.routingKey], { replyEncoding: 'utf8' });
    command.toWritable = () => call.frame;
    command.promise.then(
      (lines: readonly string[]) => settle(() => settleCall(call, lines)),
      (error: unknown) =>
        settle(() => {
          if (isNoScript(error)) refused.push(call);
          else failCall(call, unavailable('the connection to Redis failed before the answer', error));
        }),
    );
    options.redis().sendCommand(command);
  };

  const sendRefusedAgain = (): void => {
    const again = refused;
    refused = [];
    loading = true;
    options
      .redis()
      .script('LOAD', script.source)
      .then(
        () => {
          for (const call of again) send(call);
        },
        (error: unknown) => {
          for (const call of again) failCall(call, unavailable('the publish script could not be loaded', error));
          options.onError(asError(error), 'redis.publish.load');
        },
      )
      .finally(() => {
        loading = false;
        proceed();
      });
  };

  const takeFromQueue = (): PendingPublish[] => {
    let count = 0;
    let bytes = 0;
    while (count < queue.length && count < MAX_CALL_PUBLICATIONS) {
      const next = bytesOf(queue[count]!);
      if (count > 0 && bytes + next > MAX_CALL_BYTES) break;
      bytes += next;
      count += 1;
    }
    queuedBytes -= bytes;
    return queue.splice(0, count);
  };

  const proceed = (): void => {
    if (loading) return;
    if (refused.length > 0) {
      if (calls === 0) sendRefusedAgain();
      return;
    }
    while (queue.length > 0 && calls < MAX_CALLS) {
      for (const publishes of groupByCallTarget(takeFromQueue())) {
        send(encodePublishCall(publishes, { ...options, sha: script.sha, epochCandidate }));
      }
    }
  };

  const flush = (): void => {
    scheduled = false;
    proceed();
  };

  return {
    publish(request) {
      if (!options.isUp()) return Promise.reject(unavailable('not connected to Redis'));
      if (queuedBytes > MAX_QUEUED_BYTES) return Promise.reject(unavailable('too many publications wait for Redis'));
      return new Promise((resolve, reject) => {
        const pending = toPending(request, resolve, reject);
        queue.push(pending);
        queuedBytes += bytesOf(pending);
        if (scheduled) return;
        scheduled = true;
        setImmediate(flush);
      });
    },
    async prepare(redis) {
      await redis.script('LOAD', script.source);
    },
    abandon(reason) {
      const waiting = queue;
      queue = [];
      queuedBytes = 0;
      rejectAll(waiting, unavailable(reason));
    },
  };
};
