// Writes sessions to the broker in its own time: changed ones soon, moved cursors and leases now and then, in bounded batches.
//
// Nothing here runs per message. One batch is under way at a time, with a pause behind it, so that however many
// connections move, the broker sees a bounded rate.
import { BrokerUnavailableError } from '../../../broker/broker.ts';
import type { SessionRecord, Sessions } from '../../../broker/sessions.ts';
import type { Clock } from '../../clock.ts';
import type { Hub } from '../../fanout/hub.ts';
import type { MetricsRegistry } from '../../observability/registry.ts';
import { visitInSlices } from '../slices.ts';
import { movementOf, recordOf, type SessionState } from './state.ts';

/** From a subscription opened or ended to its save, ms. */
const CHANGED_DELAY_MS = 200;
/** Between two looks for moved cursors and leases to renew, ms. */
const SWEEP_MS = 5000;
/** Sessions in one call, and subscriptions after which a batch takes no further session: little, since live messages wait for it. */
const BATCH = { sessions: 25, subscriptions: 250 } as const;
/** The same for a node that closes: nobody waits, and time is short. */
const LAST_BATCH = { sessions: 100, subscriptions: 1000 } as const;
/** Behind every batch, ms, longer behind one with more subscriptions: 2 000 sessions a second at most. */
const BATCH_PAUSE_MS = 13;
/** Pause before a batch that failed is tried again, ms. */
const RETRY_MS = 1000;
/** Last records of closed connections that wait for a save; beyond that the newest are left as they were saved before. */
const MAX_FINAL = 20_000;
/** The same for the subscriptions in them. */
const MAX_FINAL_SUBSCRIPTIONS = 200_000;
/** What a closing node gives its last saves, ms. */
const CLOSE_MS = 500;
/** Sessions looked at between two turns of the event loop. */
const SWEEP_PACE = { size: 500, pauseMs: 0 } as const;

export interface SavingOptions {
  readonly sessions: Sessions;
  readonly hub: Pick<Hub, 'positionOf'>;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly nodeName: string;
  readonly leaseMs: number;
  /** Every session of this node. */
  readonly states: ReadonlyMap<unknown, SessionState>;
  /** A newer connection holds the session. */
  readonly onStale: (state: SessionState) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Saving {
  handleChanged(state: SessionState): void;
  /** The last of a session whose connection ends: kept for whoever continues it, or ended with it. */
  handleClosing(state: SessionState, outcome: 'keep' | 'end'): void;
  close(): Promise<void>;
}

interface Batch {
  readonly states: SessionState[];
  readonly records: SessionRecord[];
  /** Sessions without subscriptions are not kept. */
  readonly removals: SessionRecord[];
}

const pauseBehind = ({ records }: Batch): number => {
  const subscriptions = records.reduce((sum, record) => sum + record.subscriptions.length, 0);
  return BATCH_PAUSE_MS * Math.max(1, subscriptions / BATCH.subscriptions);
};

export const createSaving = (options: SavingOptions): Saving => {
  const { sessions, hub, clock, metrics, nodeName, leaseMs, states, onStale, onError } = options;
  const { positionOf } = hub;
  const renewMs = leaseMs / 3;
  const changed = new Set<SessionState>();
  const moved = new Set<SessionState>();
  let final: SessionRecord[] = [];
  let finalSubscriptions = 0;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let endPause = (): void => undefined;
  let closed = false;
  let sweeping = false;

  const takeBatch = (): Batch | undefined => {
    const batch: Batch = { states: [], records: [], removals: [] };
    const most = closed ? LAST_BATCH : BATCH;
    let room: number = most.subscriptions;
    const isFull = (): boolean => room <= 0 || batch.records.length + batch.removals.length >= most.sessions;
    const put = (record: SessionRecord): void => {
      room -= record.subscriptions.length;
      (record.subscriptions.length === 0 ? batch.removals : batch.records).push(record);
    };
    const lastRecords = final.splice(0, most.sessions);
    while (lastRecords.length > 0 && !isFull()) {
      const record = lastRecords.shift()!;
      finalSubscriptions -= record.subscriptions.length;
      put(record);
    }
    final.unshift(...lastRecords);
    for (const waiting of [changed, moved]) {
      for (const state of waiting) {
        if (isFull()) return batch;
        waiting.delete(state);
        moved.delete(state);
        // A claim under way asks again when it is decided.
        if (state.claiming || !state.connection.isOpen()) continue;
        const record = recordOf(state, nodeName, positionOf);
        if (record.subscriptions.length === 0 && !state.kept) continue;
        put(record);
        batch.states.push(state);
        state.savedMovement = movementOf(state, positionOf);
        state.savedAtMs = Math.round(clock.monotonicMs());
        // From now on there may be one, also when the answer does not arrive.
        state.kept = true;
      }
    }
    return batch.records.length + batch.removals.length === 0 ? undefined : batch;
  };

  const write = async ({ records, removals, states: written }: Batch): Promise<void> => {
    const [outcomes] = await Promise.all([
      records.length === 0 ? [] : sessions.save(records, leaseMs),
      removals.length === 0 ? undefined : sessions.remove(removals, leaseMs),
    ]);
    const stale = new Set(
      records.filter((_, index) => outcomes[index] === 'stale').map(({ holder }) => holder.connection),
    );
    metrics.count('weir_sessions_saved_total', undefined, records.length - stale.size);
    for (const state of written) if (stale.has(state.connection.id)) onStale(state);
    const removed = new Set(removals.map(({ holder }) => holder.connection));
    for (const state of written) if (removed.has(state.connection.id) && !changed.has(state)) state.kept = false;
  };

  /** Nothing was written, or nobody knows: the same again, as it is by then. */
  const putBack = ({ records, removals, states: written }: Batch): void => {
    for (const state of written) changed.add(state);
    const ofOpen = new Set(written.map(({ connection }) => connection.id));
    const last = [...records, ...removals].filter(({ holder }) => !ofOpen.has(holder.connection));
    final = [...last, ...final].slice(0, MAX_FINAL);
    finalSubscriptions = final.reduce((sum, record) => sum + record.subscriptions.length, 0);
  };

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const pausing = setTimeout(resolve, ms);
      endPause = () => {
        clearTimeout(pausing);
        resolve();
      };
    });

  const run = async (): Promise<void> => {
    for (let batch = takeBatch(); batch !== undefined; batch = takeBatch()) {
      try {
        await write(batch);
        if (!closed) await pause(pauseBehind(batch));
      } catch (error) {
        if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'sessions.save' });
        // A node that ends has no later.
        if (closed) return;
        putBack(batch);
        await pause(RETRY_MS);
      }
    }
  };

  const start = (): void => {
    clearTimeout(timer);
    timer = undefined;
    running ??= run().finally(() => {
      running = undefined;
      if (!closed && changed.size + final.length > 0) startIn(0);
    });
  };
  const startIn = (ms: number): void => {
    if (!closed && running === undefined) timer ??= setTimeout(start, ms);
  };

  const sweep = async (): Promise<void> => {
    if (sweeping || moved.size > 0) return;
    sweeping = true;
    const renewBeforeMs = clock.monotonicMs() - renewMs;
    await visitInSlices(states.values(), SWEEP_PACE, (state) => {
      if (closed || !state.kept || changed.has(state)) return;
      if (state.savedAtMs <= renewBeforeMs || movementOf(state, positionOf) !== state.savedMovement) moved.add(state);
    });
    sweeping = false;
    if (moved.size > 0) startIn(0);
  };
  const sweeper = setInterval(() => void sweep(), Math.min(SWEEP_MS, renewMs));
  // The listeners keep the process alive; without them, as when the port is taken, this must not.
  sweeper.unref();

  return {
    handleChanged(state) {
      changed.add(state);
      startIn(CHANGED_DELAY_MS);
    },
    handleClosing(state, outcome) {
      changed.delete(state);
      moved.delete(state);
      const record = recordOf(state, nodeName, positionOf);
      const isKept = outcome === 'keep' && record.subscriptions.length > 0;
      if ((!isKept && !state.kept) || final.length >= MAX_FINAL) return;
      if (isKept && finalSubscriptions >= MAX_FINAL_SUBSCRIPTIONS) return;
      final.push(isKept ? record : { ...record, subscriptions: [] });
      finalSubscriptions += isKept ? record.subscriptions.length : 0;
      // At once: the client may be on its way to another node.
      clearTimeout(timer);
      timer = undefined;
      startIn(0);
    },
    async close() {
      closed = true;
      clearInterval(sweeper);
      clearTimeout(timer);
      endPause();
      let deadline: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => (deadline = setTimeout(resolve, CLOSE_MS)));
      const written = (async () => {
        await running;
        await run();
      })();
      await Promise.race([written, late]);
      clearTimeout(deadline);
    },
  };
};
