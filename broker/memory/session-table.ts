// The sessions of a one-process cluster, kept for their lease.
import type { BrokerClock } from '../clock.ts';
import { ownsSession, type Sessions, type SessionRecord } from '../sessions.ts';

interface Kept {
  readonly fence: number;
  /** Absent once removed: only the fence is left. */
  readonly record?: SessionRecord;
  readonly expiresAtMs: number;
}

type Settled<T> = T extends Promise<infer R> ? R : never;

/** The same as `Sessions`, at once. */
export type SessionTable = {
  readonly [K in keyof Sessions]: (...args: Parameters<Sessions[K]>) => Settled<ReturnType<Sessions[K]>>;
};

export const createSessionTable = (clock: BrokerClock): SessionTable => {
  const table = new Map<string, Kept>();

  const find = (session: string): Kept | undefined => {
    const kept = table.get(session);
    return kept !== undefined && kept.expiresAtMs > clock.nowMs() ? kept : undefined;
  };
  // Written anew at the end, so that the order is about that of expiry and forgetting can stop at the first that lives.
  const keep = (session: string, kept: Kept): void => {
    table.delete(session);
    table.set(session, kept);
  };
  const forget = (): void => {
    const nowMs = clock.nowMs();
    for (const [session, { expiresAtMs }] of table) {
      if (expiresAtMs > nowMs) return;
      table.delete(session);
    }
  };

  return {
    save(records, leaseMs) {
      forget();
      const expiresAtMs = clock.nowMs() + leaseMs;
      return records.map((record) => {
        const { session, fence } = record;
        if ((find(session)?.fence ?? 0) > fence) return 'stale';
        keep(session, { fence, record: structuredClone(record), expiresAtMs });
        return 'saved';
      });
    },
    claim({ session, owner, holder }, leaseMs) {
      const record = find(session)?.record;
      if (record === undefined || !ownsSession(record.owner, owner)) return undefined;
      const { holder: previous, subscriptions } = record;
      const fence = Math.max(record.fence + 1, clock.nowMs());
      keep(session, { fence, record: { ...record, holder, fence }, expiresAtMs: clock.nowMs() + leaseMs });
      return { previous, fence, subscriptions };
    },
    remove(sessions, leaseMs) {
      for (const { session, fence } of sessions) {
        if ((find(session)?.fence ?? 0) <= fence) keep(session, { fence, expiresAtMs: clock.nowMs() + leaseMs });
      }
    },
  };
};
