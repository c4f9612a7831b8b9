// Writes what becomes of this node's connections and channels into one lane: in order, in batches, each once, however often it has to try.
//
// What the lane lost is written again: from the batches kept for a while where these reach back far enough, else everything that is
// alive is told anew under another life, behind the end of the former one.
import type { LifecycleChange, LifecycleLog, LifecycleTerms } from '../../../broker/lifecycle.ts';
import type { Clock } from '../../clock.ts';
import { compact, connectionOf, isOfDead } from './pending-changes.ts';

export interface LaneRecorderOptions {
  readonly log: Pick<LifecycleLog, 'record' | 'retire'>;
  readonly lane: number;
  /** See `TakeRequest.holder`. */
  readonly holder: string;
  readonly nodeName: string;
  readonly terms: LifecycleTerms;
  readonly clock: Clock;
  /** Changes that wait at most; beyond, connections nobody was told of that are over are dropped and counted. */
  readonly maxPending: number;
  /** Something is in the lane now. */
  readonly onRecorded: () => void;
  readonly onError: (error: unknown) => void;
}

export interface LaneRecorder {
  /** Resolves when it is in the lane. */
  connected(connection: string, about: string): Promise<void>;
  /** Of a connection that was not told, nothing is. */
  disconnected(connection: string, detail: string): void;
  joined(channel: string): void;
  left(channel: string): void;
  /** Renews the lease; repeated well within it. */
  beat(): void;
  /** Changes that are not in the lane yet. */
  readonly unwritten: number;
  /** Writes what is left, if that can be done at once, and ends the life. */
  close(): Promise<void>;
}

interface Batch {
  readonly seq: number;
  readonly changes: readonly LifecycleChange[];
  readonly atMs: number;
}

interface Live {
  key: string;
  readonly about: string;
  readonly sinceMs: number;
}

/** Batches begin at least so far apart, ms: what comes meanwhile goes together. The first one of a quiet lane goes at once. */
const GATHER_MS = 10;
/** Bounds what one call holds the server up. */
const BATCH_CHANGES = 500;
const RETRY_MS = 250;
/** Written batches are kept so long, and so many changes of them: a server that takes over may have missed the newest. */
const KEPT_MS = 10_000;
const KEPT_CHANGES = 5_000;
/** Former lives that are ended once more before a new one begins. */
const RETIRED_AGAIN = 3;

const again = (change: LifecycleChange): LifecycleChange =>
  change.kind === 'joined' ? { ...change, again: true } : change;

export const createLaneRecorder = (options: LaneRecorderOptions): LaneRecorder => {
  const { log, lane, holder, nodeName, terms, clock, maxPending, onRecorded, onError } = options;
  const live = new Map<string, Live>();
  const channels = new Set<string>();
  const waiting = new Map<string, () => void>();
  let term = 1;
  /** Number of the newest batch that was made. */
  let seq = 0;
  let queue: LifecycleChange[] = [];
  let compactAt = maxPending;
  /** Made, and not known to be in the lane. */
  let open: Batch[] = [];
  let kept: Batch[] = [];
  let keptChanges = 0;
  /** The present life is to be ended; `isLoss` when the lane forgot it. */
  let renewal: { readonly isLoss: boolean } | undefined;
  let state: 'idle' | 'scheduled' | 'running' | 'closed' = 'idle';
  let timer: NodeJS.Timeout | undefined;
  let begunAtMs = -Infinity;

  const lifeOf = (number: number): string => `${holder}.${number}`;
  const keyOf = (connection: string): string => `${connection}.${term}`;
  const isAlive = { connection: (id: string) => live.has(id), channel: (name: string) => channels.has(name) };

  const schedule = (delayMs = Math.max(0, begunAtMs + GATHER_MS - clock.monotonicMs())): void => {
    if (state !== 'idle') return;
    state = 'scheduled';
    timer = setTimeout(() => void run(), delayMs);
  };

  const lostChange = (count: number | null, reason: 'broker' | 'overflow'): LifecycleChange => ({
    kind: 'lost',
    timeMs: clock.nowMs(),
    detail: JSON.stringify({ count, reason, node: nodeName }),
  });

  const push = (change: LifecycleChange): void => {
    queue.push(change);
    if (queue.length > compactAt) {
      const { changes, dropped } = compact(queue);
      queue = dropped === 0 ? changes : [lostChange(dropped, 'overflow'), ...changes];
      // What is left are ends of what was told and begins of what is alive: bounded by these.
      compactAt = Math.max(maxPending, 2 * queue.length);
    }
    schedule();
  };

  const keep = (batch: Batch): void => {
    const nowMs = clock.monotonicMs();
    kept.push({ ...batch, atMs: nowMs });
    keptChanges += batch.changes.length;
    while (kept[0] !== undefined && (keptChanges > KEPT_CHANGES || nowMs - kept[0].atMs > KEPT_MS)) {
      keptChanges -= kept.shift()!.changes.length;
    }
  };

  const settle = (batch: Batch): void => {
    for (const change of batch.changes) {
      if (change.kind !== 'connected') continue;
      const connection = connectionOf(change.key);
      waiting.get(connection)?.();
      waiting.delete(connection);
    }
    onRecorded();
  };

  /** The lane has batches up to `newest` only: the later ones go again, if they are still there. */
  const rewind = (newest: number): void => {
    const missing = kept.filter((batch) => batch.seq > newest);
    if ((missing[0] ?? open[0])?.seq !== newest + 1) {
      renewal = { isLoss: true };
      return;
    }
    open = [...missing, ...open].map((batch) => ({ ...batch, changes: batch.changes.map(again) }));
    kept = kept.filter((batch) => batch.seq <= newest);
    keptChanges = kept.reduce((sum, { changes }) => sum + changes.length, 0);
  };

  const renew = async (isLoss: boolean): Promise<void> => {
    // The end of the former life stands before everything that is told anew. Ends of earlier ones may be lost with the rest.
    for (let former = Math.max(1, term - RETIRED_AGAIN); former <= term; former += 1) {
      while (!(await log.retire(lane, lifeOf(former), terms)));
    }
    term += 1;
    seq = 0;
    const untold = [...(isLoss ? kept : []), ...open].flatMap(({ changes }) => changes).concat(queue);
    queue = untold.filter((change) => isOfDead(change, isAlive));
    if (isLoss) queue.unshift(lostChange(null, 'broker'));
    for (const [connection, one] of live) {
      one.key = keyOf(connection);
      queue.push({ kind: 'connected', key: one.key, timeMs: one.sinceMs, about: one.about });
    }
    for (const channel of channels) {
      const joined: LifecycleChange = { kind: 'joined', channel, timeMs: clock.nowMs() };
      queue.push(isLoss ? again(joined) : joined);
    }
    compactAt = Math.max(maxPending, 2 * queue.length);
    open = [];
    kept = [];
    keptChanges = 0;
    renewal = undefined;
  };

  const nextBatch = (): Batch | undefined => {
    if (open[0] === undefined && queue.length > 0) {
      seq += 1;
      open = [{ seq, changes: queue.splice(0, BATCH_CHANGES), atMs: 0 }];
    }
    return open[0];
  };

  /** One call; false when there is nothing to do. Without a batch it only looks whether the lane still knows the newest one. */
  const step = async (): Promise<boolean> => {
    if (renewal !== undefined) {
      await renew(renewal.isLoss);
      return true;
    }
    const batch = nextBatch();
    if (batch === undefined && seq === 0) return false;
    const outcome = await log.record(
      { lane, life: lifeOf(term), seq: batch?.seq ?? seq, changes: batch?.changes ?? [] },
      terms,
    );
    switch (outcome.kind) {
      case 'recorded':
        if (batch === undefined) return false;
        open.shift();
        keep(batch);
        settle(batch);
        return open.length > 0 || queue.length >= BATCH_CHANGES;
      case 'behind':
        rewind(outcome.seq);
        return true;
      case 'unknown':
      case 'retired':
        renewal = { isLoss: outcome.kind === 'unknown' };
        return true;
    }
  };

  const run = async (): Promise<void> => {
    if (state === 'closed') return;
    state = 'running';
    begunAtMs = clock.monotonicMs();
    try {
      while (await step());
      ready();
      if (queue.length > 0) schedule();
    } catch (error) {
      onError(error);
      ready();
      schedule(RETRY_MS);
    }
  };
  const ready = (): void => {
    if (state === 'running') state = 'idle';
  };

  return {
    connected(connection, about) {
      const sinceMs = clock.nowMs();
      const key = keyOf(connection);
      live.set(connection, { key, about, sinceMs });
      push({ kind: 'connected', key, timeMs: sinceMs, about });
      return new Promise((resolve) => waiting.set(connection, resolve));
    },
    disconnected(connection, detail) {
      const one = live.get(connection);
      if (one === undefined) return;
      live.delete(connection);
      waiting.delete(connection);
      push({ kind: 'disconnected', key: one.key, timeMs: clock.nowMs(), about: one.about, detail });
    },
    joined(channel) {
      channels.add(channel);
      push({ kind: 'joined', channel, timeMs: clock.nowMs() });
    },
    left(channel) {
      channels.delete(channel);
      push({ kind: 'left', channel, timeMs: clock.nowMs() });
    },
    beat() {
      if (state === 'idle' && (seq > 0 || queue.length > 0)) schedule(0);
    },
    get unwritten() {
      return queue.length + open.reduce((sum, { changes }) => sum + changes.length, 0);
    },
    async close() {
      clearTimeout(timer);
      while (state === 'running') await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
      clearTimeout(timer);
      const isUsed = seq > 0 || queue.length > 0;
      state = 'closed';
      if (!isUsed) return;
      try {
        while (await step());
        while (queue.length > 0) await step();
        while (!(await log.retire(lane, lifeOf(term), terms)));
      } catch (error) {
        // The others find the life when its lease ends.
        onError(error);
      }
    },
  };
};
