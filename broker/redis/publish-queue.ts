// Publications that wait for a call: bounded in bytes and in time, taken in order.
import { BrokerUnavailableError } from '../broker.ts';
import { bytesOf, type PendingPublish } from './publish-call.ts';

const MAX_CALL_PUBLICATIONS = 256;
const MAX_CALL_BYTES = 1024 * 1024;
/** Taken entries stay in the array until they are as many as the waiting ones and at least this many. */
const COMPACT_AT = 1_024;

export interface PublishQueueOptions {
  /** Records waiting beyond which `push` refuses. */
  readonly maxBytes: number;
  /** Longest wait for a call, ms: what waited longer is rejected, never sent. */
  readonly maxWaitMs: number;
}

export interface PublishQueue {
  /** False when full; nothing was queued. */
  push(publish: PendingPublish): boolean;
  /** The next call's worth in order, at most 256 publications and 1 MiB unless one alone is larger. Empty when nothing waits. */
  take(nowMs: number): PendingPublish[];
  /** Whether what waits is enough for a call that could not be larger. */
  readonly holdsFullCall: boolean;
  rejectAll(error: Error): void;
}

export const createPublishQueue = ({ maxBytes, maxWaitMs }: PublishQueueOptions): PublishQueue => {
  let entries: PendingPublish[] = [];
  let first = 0;
  let bytes = 0;

  const dropExpired = (nowMs: number): void => {
    while (first < entries.length && nowMs - entries[first]!.queuedAtMs > maxWaitMs) {
      bytes -= bytesOf(entries[first]!);
      entries[first]!.reject(new BrokerUnavailableError('the publication waited too long for Redis and was not sent'));
      first += 1;
    }
  };

  return {
    push(publish) {
      if (bytes > maxBytes) return false;
      entries.push(publish);
      bytes += bytesOf(publish);
      return true;
    },
    take(nowMs) {
      dropExpired(nowMs);
      let end = first;
      let callBytes = 0;
      while (end < entries.length && end - first < MAX_CALL_PUBLICATIONS) {
        const next = bytesOf(entries[end]!);
        if (end > first && callBytes + next > MAX_CALL_BYTES) break;
        callBytes += next;
        end += 1;
      }
      const taken = entries.slice(first, end);
      bytes -= callBytes;
      first = end;
      if (first === entries.length || (first >= COMPACT_AT && first * 2 >= entries.length)) {
        entries = entries.slice(first);
        first = 0;
      }
      return taken;
    },
    get holdsFullCall() {
      return entries.length - first >= MAX_CALL_PUBLICATIONS || bytes >= MAX_CALL_BYTES;
    },
    rejectAll(error) {
      const waiting = entries.slice(first);
      entries = [];
      first = 0;
      bytes = 0;
      for (const publish of waiting) publish.reject(error);
    },
  };
};
