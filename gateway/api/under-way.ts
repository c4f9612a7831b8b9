// Requests that are being worked on: counted, so that a node that ends can wait for those it has.
//
// Not a set of their promises: one through which thousands per second go is made anew all the time, and each table that grew old
// keeps whatever was in it at that moment until the old generation is collected, with all that hangs on it.

export interface UnderWay {
  /** Counts the work until it is over, and turns what it failed with into a result. */
  track<T>(work: Promise<T>, fail: (thrown: unknown) => T): Promise<T>;
  /** Resolves when all work that is being tracked now is over; what begins meanwhile does not count. */
  settled(): Promise<void>;
}

/** What began between two calls of `settled`. */
interface Group {
  open: number;
  onEmpty: (() => void) | undefined;
}

const newGroup = (): Group => ({ open: 0, onEmpty: undefined });

export const createUnderWay = (): UnderWay => {
  let newest = newGroup();
  const earlier = new Set<Promise<void>>();
  return {
    async track(work, fail) {
      const group = newest;
      group.open += 1;
      try {
        return await work;
      } catch (thrown) {
        return fail(thrown);
      } finally {
        group.open -= 1;
        if (group.open === 0) group.onEmpty?.();
      }
    },
    async settled() {
      const group = newest;
      newest = newGroup();
      if (group.open > 0) {
        const empty = new Promise<void>((resolve) => (group.onEmpty = resolve));
        earlier.add(empty);
        void empty.then(() => earlier.delete(empty));
      }
      await Promise.all(earlier);
    },
  };
};
