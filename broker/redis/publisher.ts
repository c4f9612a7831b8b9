// The publish path: collects publications, sends them in few script calls, and gives every caller an answer in time.
//
// Publications of one tick leave together. While enough calls are under way the batch grows instead (as Nagle's algorithm
// does), so that load raises the size of calls and not their number. One connection and calls answered in order keep the
// order per channel.
import type { Redis } from 'ioredis';
import type { ChannelPosition, PublishResult } from '../broker.ts';
import type { PublishRequest } from '../publication.ts';
import type { KeySpace } from './keys.ts';
import { BrokerUnavailableError } from '../broker.ts';
import { driverError } from './driver-error.ts';
import { sendEncoded } from './forgetful-command.ts';
import {
  type CallSettings,
  encodePublishCall,
  hasPositions,
  settleGroup,
  toPending,
  type PendingPublish,
  type PublishCall,
} from './publish-call.ts';
import { createPublishQueue } from './publish-queue.ts';
import type { OwnTail } from './own-tail.ts';
import type { ReplicaWait } from './replicas.ts';
import { isNoScript, loadScript } from './script.ts';

/** Calls under way from which on the batch grows. */
const MAX_CALLS = 2;
/**
 * The same once a whole call waits: growing gains nothing any more. Answers are read once per turn of the loop, so with two calls of
 * 256 publications a loop that takes 20 ms for a turn could not publish more than 25 600/s, however idle Redis is. With so many, turns of
 * 100 ms are enough for 160 000/s, which is more than a node does.
 */
const MAX_FULL_CALLS = 64;
/** Records waiting for a call beyond which publishes are refused. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

export interface PublisherOptions {
  readonly keySpace: KeySpace;
  readonly randomId: () => string;
  readonly publishTimeoutMs: number;
  readonly numberingTtlMs: number;
  readonly idempotencyWindowMs: number;
  /** Gets what was appended here. */
  readonly ownTail: Pick<OwnTail, 'add'>;
  readonly redis: () => Redis;
  readonly isUp: () => boolean;
  /** What an answer waits for besides the log; undefined for nothing. */
  readonly replicated: ReplicaWait | undefined;
  /** Resolves when the nodes have decided what the script asked for with an answer that begins with "?". */
  decide(channel: string, answer: string): Promise<void>;
  /** The connection is of no use any more. */
  reset(reason: string): void;
  /** A call as a whole was refused or lost; nothing is known of why. */
  onFailure(error: unknown): void;
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
  const script = loadScript('numbering.lua', 'publish.lua');
  const callSettings: CallSettings = { ...options, sha: script.sha };
  // Half of the time for waiting, so that what is sent has the other half: a refusal before sending leaves no doubt.
  const queue = createPublishQueue({ maxBytes: MAX_QUEUED_BYTES, maxWaitMs: options.publishTimeoutMs / 2 });
  let scheduled = false;
  let tickMs = 0;
  let calls = 0;
  let epochCandidate = options.randomId();
  // Calls the server refused because it lost the script. Nothing else leaves before they were sent again, in order.
  let refused: PublishCall[] = [];
  let loading = false;
  // Publications nothing was appended of because the nodes have to decide first. Nothing else leaves before them.
  let undecided: PendingPublish[] = [];
  let decisions = 0;

  const rejectAll = (publishes: readonly PendingPublish[], error: Error): void => {
    for (const publish of publishes) publish.reject(error);
  };

  const failCall = (call: PublishCall, error: Error): void => {
    for (const group of call.groups) rejectAll(group, error);
  };

  const hold = (group: readonly PendingPublish[], answer: string): void => {
    undecided.push(...group);
    decisions += 1;
    const drop = (error: Error): void => {
      undecided = undecided.filter((publish) => !group.includes(publish));
      rejectAll(group, error);
    };
    const waitedMs = performance.now() - group[0]!.queuedAtMs;
    const timer = setTimeout(
      () => drop(unavailable('the publication waited too long for a decision after a failover and was not sent')),
      options.publishTimeoutMs - waitedMs,
    );
    const finish = (): void => {
      clearTimeout(timer);
      decisions -= 1;
      proceed();
    };
    options.decide(group[0]!.request.channel, answer).then(finish, (error: unknown) => {
      drop(unavailable('Redis failed over, and the nodes could not decide how to go on', error));
      finish();
    });
  };

  const sendDecided = (): void => {
    const nowMs = performance.now();
    const waiting = undecided.filter(({ queuedAtMs }) => nowMs - queuedAtMs < options.publishTimeoutMs);
    undecided = [];
    sendAll(waiting);
  };

  const settleCall = (call: PublishCall, lines: readonly string[], shortfall?: Error): void => {
    let firstError: Error | undefined;
    const atMs = performance.now();
    const onAppended = (request: PublishRequest, position: ChannelPosition): void =>
      options.ownTail.add(request, position, atMs);
    for (let i = 0; i < call.groups.length; i += 1) {
      const group = call.groups[i]!;
      const line = lines[i]!;
      if (line.startsWith('?')) {
        hold(group, line);
        continue;
      }
      const error = settleGroup(group, line, shortfall, onAppended);
      if (error === undefined) continue;
      firstError ??= error;
      rejectAll(group, unavailable('the publication was refused by Redis', error));
    }
    if (lines.some((line) => line.includes(epochCandidate))) epochCandidate = options.randomId();
    if (firstError === undefined) return;
    // One report per call: a server without memory refuses every channel of every call.
    options.onError(firstError, 'redis.publish');
    // A replica after a failover: this connection will never write again.
    if (firstError.message.includes('READONLY')) options.reset('connected to a replica');
  };

  const send = (call: PublishCall, replicated: () => Promise<Error | undefined> | undefined): void => {
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
    const reason = `no answer to a publish within ${options.publishTimeoutMs} ms`;
    // After the poll phase: an answer that waits in the socket behind a stalled event loop is not late.
    const after = (ms: number, work: () => void): NodeJS.Timeout =>
      setTimeout(() => setImmediate(() => (settled ? undefined : work())), ms);
    const giveUpLink = (): void => {
      options.onError(new Error(reason), 'redis.publish');
      options.reset(reason);
      settle(() => failCall(call, unavailable(reason)));
    };
    const waitedMs = performance.now() - call.groups[0]![0]!.queuedAtMs;
    // The callers' time is over before the connection's: a busy queue is no sign of a dead link.
    let timer = after(options.publishTimeoutMs - waitedMs, () => {
      failCall(call, unavailable(reason));
      timer = after(waitedMs, giveUpLink);
    });

    sendEncoded(options.redis(), 'EVALSHA', call.frame).then(
      (reply) => {
        const lines = reply as readonly string[];
        const waited = lines.some(hasPositions) ? replicated() : undefined;
        if (waited === undefined) settle(() => settleCall(call, lines));
        else void waited.then((shortfall) => settle(() => settleCall(call, lines, shortfall)));
      },
      (error: unknown) =>
        settle(() => {
          if (isNoScript(error)) refused.push(call);
          else {
            options.onFailure(error);
            failCall(
              call,
              unavailable('Redis refused, or the connection failed before the answer', driverError(error)),
            );
          }
        }),
    );
  };

  /** Calls that one wait for replicas covers. */
  const sendTogether = (group: readonly PublishCall[]): void => {
    // Answers come later than this line, so the wait is sent behind the last call and yet known to each.
    for (const call of group) send(call, () => replicated);
    const replicated = options.replicated?.(options.redis());
    void replicated?.then((shortfall) => {
      if (shortfall !== undefined && options.isUp()) options.onError(shortfall, 'redis.replicas');
    });
  };

  const sendRefusedAgain = (): void => {
    const again = refused;
    refused = [];
    loading = true;
    options
      .redis()
      .script('LOAD', script.source)
      .then(
        () => sendTogether(again),
        (thrown: unknown) => {
          const error = driverError(thrown);
          for (const call of again) failCall(call, unavailable('the publish script could not be loaded', error));
          options.onError(error, 'redis.publish.load');
        },
      )
      .finally(() => {
        loading = false;
        proceed();
      });
  };

  const sendAll = (publishes: readonly PendingPublish[]): void => {
    const groups = options.keySpace.groupByCall(publishes, ({ request }) => request.channel);
    sendTogether(groups.map((group) => encodePublishCall(group, callSettings, epochCandidate)));
  };

  /** Whether the next call may leave; at the end of a turn also one that is not full. */
  const mayCall = (atEnd: boolean): boolean =>
    queue.holdsFullCall ? calls < MAX_FULL_CALLS : atEnd && calls < MAX_CALLS;

  const proceed = (atEnd = true): void => {
    if (loading) return;
    if (refused.length > 0) {
      if (calls === 0) sendRefusedAgain();
      return;
    }
    if (undecided.length > 0) {
      if (calls === 0 && decisions === 0) sendDecided();
      return;
    }
    while (mayCall(atEnd)) {
      const publishes = queue.take(performance.now());
      if (publishes.length === 0) return;
      sendAll(publishes);
    }
  };

  const flush = (): void => {
    scheduled = false;
    proceed();
  };

  return {
    publish(request) {
      if (!options.isUp()) return Promise.reject(unavailable('not connected to Redis'));
      return new Promise((resolve, reject) => {
        // One reading of the clock per tick.
        if (!scheduled) tickMs = performance.now();
        if (!queue.push(toPending(request, tickMs, resolve, reject))) {
          reject(unavailable('too many publications wait for Redis'));
          return;
        }
        // Redis begins while the loop still reads what else came in this turn; with a full loop and everything sent at its end, the two
        // would take turns, each idle while the other works.
        if (queue.holdsFullCall) proceed(false);
        if (scheduled) return;
        scheduled = true;
        setImmediate(flush);
      });
    },
    async prepare(redis) {
      // A call that was lost with its connection may have begun an epoch of this name on a server that is gone.
      epochCandidate = options.randomId();
      await redis.script('LOAD', script.source);
    },
    abandon(reason) {
      queue.rejectAll(unavailable(reason));
    },
  };
};
