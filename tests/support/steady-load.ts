// Attempts at an even pace, whatever becomes of those before, and what became of each.

export interface SteadyLoad extends AsyncDisposable {
  /** What became of the attempts that have ended, in the order of their ends. */
  readonly outcomes: readonly string[];
  /** Ends the pace and resolves when every attempt has ended. */
  stop(): Promise<void>;
}

/** Begins `attempt` every `everyMs`; its rejection is an outcome as well. */
export const startSteadyLoad = (everyMs: number, attempt: (n: number) => Promise<string>): SteadyLoad => {
  const outcomes: string[] = [];
  const running = new Set<Promise<void>>();
  let begun = 0;
  const timer = setInterval(() => {
    const one = attempt(begun++).then(
      (outcome) => void outcomes.push(outcome),
      (error: unknown) => void outcomes.push(`failed: ${(error as Error).message}`),
    );
    running.add(one);
    void one.finally(() => running.delete(one));
  }, everyMs);
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    await Promise.all(running);
  };
  return { outcomes, stop, [Symbol.asyncDispose]: stop };
};
