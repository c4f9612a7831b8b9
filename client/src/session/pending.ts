// Requests waiting for their reply, by command id: each is settled exactly once, by reply, timeout or loss of the connection.
import type { Cancel, Clock } from '../clock.ts';
import { connectionLost, fromReply, timedOut, WeirError } from '../errors.ts';
import type { Replies, Reply, RequestType } from '../protocol/wire.ts';

/** Called synchronously in frame order, so that a reply is handled before the pushes that follow it. */
export type OnReply<T extends RequestType> = (outcome: Replies[T] | WeirError) => void;

export interface Pending {
  add<T extends RequestType>(id: number, type: T, onReply: OnReply<T>): void;
  settle(id: number, outcome: Reply | WeirError): void;
  /** Settles all with `connection_lost`, in the order of sending. */
  abandon(): void;
}

interface Entry {
  type: RequestType;
  onReply: OnReply<RequestType>;
  deadlineMs: number;
}

export const createPending = (clock: Clock, timeoutMs: number): Pending => {
  const entries = new Map<number, Entry>();
  let cancel: Cancel | undefined;

  const settle = (id: number, outcome: Reply | WeirError): void => {
    const entry = entries.get(id);
    entries.delete(id);
    if (!entry) return;
    if (outcome instanceof WeirError) entry.onReply(outcome);
    else entry.onReply(outcome.type === 'error' ? fromReply(outcome) : outcome);
  };

  // All share one timeout, so the oldest entry is always the next to expire and one timer is enough.
  const watch = (): void => {
    cancel = undefined;
    for (const [id, { type, deadlineMs }] of entries) {
      const leftMs = deadlineMs - clock.now();
      if (leftMs > 0) {
        cancel = clock.after(leftMs, watch);
        return;
      }
      settle(id, timedOut(type));
    }
  };

  return {
    add: (id, type, onReply) => {
      // The reply type is fixed by the command type; only the map forgets which.
      entries.set(id, { type, onReply: onReply as OnReply<RequestType>, deadlineMs: clock.now() + timeoutMs });
      cancel ??= clock.after(timeoutMs, watch);
    },
    settle,
    abandon: () => {
      cancel?.();
      for (const id of [...entries.keys()]) settle(id, connectionLost());
    },
  };
};
