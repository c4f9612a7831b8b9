// Carries out what the byte budget decides: shrinks channel logs, parks connections, dismisses those that owe most.
import type { ByteBudget } from '../fanout/byte-budget.ts';
import { LOW_BYTES } from '../fanout/catch-up.ts';
import { park } from '../fanout/channel-state.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { Connection } from './connection.ts';
import type { Dismissal } from './dismissal.ts';

export interface BudgetKeepingOptions {
  readonly budget: ByteBudget<Connection>;
  readonly metrics: MetricsRegistry;
  /** Trims all channel logs together to so much, bytes. */
  readonly shrinkRings: (maxBytes: number) => void;
  readonly dismissal: Pick<Dismissal, 'cut'>;
}

export interface BudgetKeeping {
  /** Somebody's outbox or another part grew: relief follows in this turn of the loop when the budget is passed. */
  handleGrowth(): void;
  start(): void;
  close(): void;
}

/** Pause between two looks at whether somebody has to be parked, ms; whatever passes the budget does not wait for it. */
const LOOK_MS = 100;

export const createBudgetKeeping = (options: BudgetKeepingOptions): BudgetKeeping => {
  const { budget, metrics, shrinkRings, dismissal } = options;
  let scheduled: NodeJS.Immediate | undefined;
  let timer: NodeJS.Timeout | undefined;

  const count = (measure: 'rings' | 'parked' | 'closed', by: number): void => {
    if (by > 0) metrics.count('weir_budget_relief_total', { measure }, by);
  };

  const relieve = (): void => {
    scheduled = undefined;
    if (!budget.isOver) return;
    const relief = budget.relieve();
    if (budget.bytesOf('rings') > relief.ringBytes) {
      count('rings', 1);
      shrinkRings(relief.ringBytes);
    }
    // One that has drained gets no sign when it may go on; it owes for what it once held.
    const parked = relief.park.filter(
      (connection) => connection.isOpen() && !connection.parked && connection.bufferedBytes() > LOW_BYTES,
    );
    for (const connection of parked) park(connection);
    count('parked', parked.length);
    for (const connection of relief.cut) dismissal.cut(connection);
    count('closed', relief.dismiss.length);
    for (const connection of relief.dismiss) connection.dismiss();
  };

  return {
    handleGrowth() {
      if (budget.bytes > budget.maxBytes) scheduled ??= setImmediate(relieve);
    },
    start() {
      timer ??= setInterval(relieve, LOOK_MS).unref();
    },
    close() {
      clearImmediate(scheduled);
      clearInterval(timer);
    },
  };
};
