// When the tokens of connections are over: one timer for all of them, whatever their number and their lifetimes.
import type { Clock } from '../clock.ts';
import { visitInSlices } from './slices.ts';

export interface Expiring {
  /** Unix time of the end, ms; Infinity for one that does not expire. */
  readonly expiresAtMs: number;
  /** Where it is kept; undefined when it is not. */
  expirySlot: number | undefined;
}

export interface Expiry<T extends Expiring> {
  /** The item has an end, or another one than before. One that is Infinity costs nothing. */
  schedule(item: T): void;
  /** The item is gone: nothing holds it any more. */
  cancel(item: T): void;
  /** Items whose end is waited for. */
  readonly size: number;
  /** Ends the timer; nothing expires afterwards. */
  close(): void;
}

/** Ends are grouped by this; an item expires up to twice as much later. ms */
const SLOT_MS = 500;
/** Items expired between two turns of the event loop: tokens handed out together end together. */
const PACE = { size: 200, pauseMs: 0 } as const;

export interface ExpiryOptions<T> {
  /** Unix time, since that is what tokens name: when the clock is set, ends move with it. */
  readonly clock: Pick<Clock, 'nowMs'>;
  /** What an item is given beyond its end, ms. */
  readonly graceMs: number;
  /** Called once per end that was reached; the item may be gone by then. */
  readonly onExpired: (item: T) => void;
}

export const createExpiry = <T extends Expiring>({ clock, graceMs, onExpired }: ExpiryOptions<T>): Expiry<T> => {
  /** By the number of the slot in which the end with its grace lies. */
  const slots = new Map<number, Set<T>>();
  let timer: NodeJS.Timeout | undefined;
  let size = 0;

  const cancel = (item: T): void => {
    const slot = item.expirySlot;
    if (slot === undefined) return;
    item.expirySlot = undefined;
    const items = slots.get(slot);
    if (items?.delete(item) !== true) return;
    size -= 1;
    if (items.size === 0) slots.delete(slot);
  };

  const look = (): void => {
    const now = Math.floor(clock.nowMs() / SLOT_MS);
    const due: T[] = [];
    for (const [slot, items] of slots) {
      if (slot > now) continue;
      slots.delete(slot);
      size -= items.size;
      for (const item of items) due.push(item);
    }
    for (const item of due) item.expirySlot = undefined;
    void visitInSlices(due, PACE, (item) => {
      // Its token may have been replaced while others were closed.
      if (item.expiresAtMs + graceMs <= clock.nowMs()) onExpired(item);
    });
    if (slots.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };

  return {
    schedule(item) {
      cancel(item);
      if (item.expiresAtMs === Infinity) return;
      const slot = Math.floor((item.expiresAtMs + graceMs) / SLOT_MS) + 1;
      const items = slots.get(slot);
      if (items === undefined) slots.set(slot, new Set([item]));
      else items.add(item);
      item.expirySlot = slot;
      size += 1;
      timer ??= setInterval(look, SLOT_MS);
    },
    cancel,
    get size() {
      return size;
    },
    close() {
      clearInterval(timer);
      timer = undefined;
      slots.clear();
      size = 0;
    },
  };
};
