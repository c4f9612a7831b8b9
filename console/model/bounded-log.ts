// The newest entries of an endless stream, numbered, so that a flood costs a fixed amount of memory.

export interface Numbered<T> {
  /** 1 for the first entry ever pushed, +1 each. */
  readonly sequence: number;
  readonly entry: T;
}

export interface BoundedLog<T> {
  push(entry: T): void;
  /** Entries ever pushed: the sequence of the newest. */
  readonly total: number;
  /** Sequence of the oldest entry still held; `total + 1` when none is. */
  readonly oldest: number;
  /** Entries held with a sequence above `after`, oldest first. */
  since(after: number): Numbered<T>[];
  /** Forgets the entries; the numbering goes on. */
  clear(): void;
}

/** Holds at most `capacity` entries. */
export const createBoundedLog = <T>(capacity: number): BoundedLog<T> => {
  let ring: T[] = [];
  let total = 0;
  let cleared = 0;
  const oldest = (): number => Math.max(cleared, total - capacity) + 1;

  return {
    push: (entry) => {
      ring[total % capacity] = entry;
      total += 1;
    },
    get total() {
      return total;
    },
    get oldest() {
      return oldest();
    },
    since: (after) => {
      const found: Numbered<T>[] = [];
      for (let sequence = Math.max(after + 1, oldest()); sequence <= total; sequence++) {
        found.push({ sequence, entry: ring[(sequence - 1) % capacity]! });
      }
      return found;
    },
    clear: () => {
      cleared = total;
      ring = [];
    },
  };
};
