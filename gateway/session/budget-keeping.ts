// Carries out what the byte budget decides: shrinks channel logs, parks connections, ends those that owe most.
//
// Who is dismissed gets nothing more and keeps its connection until its outbox drained, so that it hears 3008; it resumes from
// its cursors elsewhere. One that does not drain in time could not hear it anyway and is cut, which gives its memory back at
// once: an orderly close would keep it in the engine until the client reads.
import { closeCodes } from '../../protocol/codes.ts';
import type { ByteBudget } from '../fanout/byte-budget.ts';
import { LOW_BYTES } from '../fanout/catch-up.ts';
import { park } from '../fanout/channel-state.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { Connection } from './connection.ts';

export interface BudgetKeepingOptions {
  readonly budget: ByteBudget<Connection>;
  readonly metrics: MetricsRegistry;
  /** Trims all channel logs together to so much, bytes. */
  readonly shrinkRings: (maxBytes: number) => void;
}

export interface BudgetKeeping {
  /** Somebody's outbox or another part grew: relief follows in this turn of the loop when it is due. */
  handleGrowth(): void;
  /** Regular relief, ten times a second; what is passed by much does not wait for it. */
  look(): void;
  /** The backlog of a connection shrank. Returns whether it was one that goes, and nobody else shall serve it. */
  handleDrain(connection: Connection): boolean;
  close(): void;
}

/** How long a dismissed connection may drain, ms. */
const GRACE_MS = 2000;

export const createBudgetKeeping = ({ budget, metrics, shrinkRings }: BudgetKeepingOptions): BudgetKeeping => {
  const { code, name } = closeCodes.tooSlow;
  const timers = new Map<Connection, NodeJS.Timeout>();
  let scheduled: NodeJS.Immediate | undefined;

  const count = (measure: 'parked' | 'closed' | 'cut', by = 1): void => {
    if (by > 0) metrics.count('weir_budget_relief_total', { measure }, by);
  };
  const stopWaiting = (connection: Connection): void => {
    clearTimeout(timers.get(connection));
    timers.delete(connection);
  };
  const close = (connection: Connection): void => {
    stopWaiting(connection);
    if (!connection.isOpen()) return;
    count('closed');
    connection.close(code, name);
  };
  const cut = (connection: Connection): void => {
    stopWaiting(connection);
    if (!connection.isOpen()) return;
    count('cut');
    connection.cut(code);
  };
  const dismiss = (connection: Connection): void => {
    connection.dismiss();
    if (connection.bufferedBytes() <= LOW_BYTES) close(connection);
    else timers.set(connection, setTimeout(cut, GRACE_MS, connection).unref());
  };

  const relieve = (): void => {
    scheduled = undefined;
    if (!budget.isOver) return;
    const relief = budget.relieve();
    if (budget.bytesOf('rings') > relief.ringBytes) {
      metrics.count('weir_budget_relief_total', { measure: 'rings' });
      shrinkRings(relief.ringBytes);
    }
    // One that has drained gets no sign when it may go on; it owes for what it once held.
    const parked = relief.park.filter(
      (connection) => connection.isOpen() && !connection.parked && connection.bufferedBytes() > LOW_BYTES,
    );
    for (const connection of parked) park(connection);
    count('parked', parked.length);
    relief.cut.forEach(cut);
    relief.dismiss.forEach(dismiss);
  };

  return {
    handleGrowth() {
      // Between the mark for parking and the budget itself the next look is soon enough.
      if (budget.bytes > budget.maxBytes) scheduled ??= setImmediate(relieve);
    },
    look: relieve,
    handleDrain(connection) {
      if (!connection.dismissed) return false;
      if (connection.bufferedBytes() <= LOW_BYTES) close(connection);
      return true;
    },
    close() {
      clearImmediate(scheduled);
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
    },
  };
};
