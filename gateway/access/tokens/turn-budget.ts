// Work in bounded portions of the event loop: at once while the turn has time left, else in order in a later turn.
//
// Thousands of sockets can become readable in one turn, each with a signature to check: done in one go that would hold
// every message of everybody else.

export interface TurnBudget {
  /** At once when it may, else resolves in its turn. What `work` throws is thrown or rejects. */
  run<T>(work: () => T): T | Promise<T>;
  readonly waiting: number;
}

export interface TurnBudgetOptions {
  /** Time of one turn that the work may take, ms; one piece is always done. */
  readonly budgetMs: number;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  /** Calls back after the input of this turn has been read. */
  readonly nextTurn: (callback: () => void) => void;
}

export const createTurnBudget = ({ budgetMs, nowMs, nextTurn }: TurnBudgetOptions): TurnBudget => {
  let spentMs = 0;
  let isScheduled = false;
  let queue: (() => void)[] = [];
  let next = 0;

  const timed = <T>(work: () => T): T => {
    if (!isScheduled) {
      isScheduled = true;
      nextTurn(turn);
    }
    const startedMs = nowMs();
    try {
      return work();
    } finally {
      spentMs += nowMs() - startedMs;
    }
  };

  const turn = (): void => {
    isScheduled = false;
    spentMs = 0;
    while (next < queue.length && spentMs < budgetMs) timed(queue[next++]!);
    if (next < queue.length) return;
    queue = [];
    next = 0;
  };

  return {
    run(work) {
      if (next === queue.length && spentMs < budgetMs) return timed(work);
      return new Promise((resolve, reject) => {
        queue.push(() => {
          try {
            resolve(work());
          } catch (thrown) {
            reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
          }
        });
      });
    },
    get waiting() {
      return queue.length - next;
    },
  };
};
