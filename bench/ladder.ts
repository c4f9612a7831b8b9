// Rising rates until a step fails: the highest step that passed is what a server sustains.
import type { LoadResult } from './load-types.ts';
import { atRest } from './rungs.ts';
import type { BenchServer } from './servers.ts';

export interface Step {
  readonly rate: number;
  readonly run: LoadResult;
  readonly outcome: 'passed' | 'failed';
}

/** The warm-up compiles the server's code and is not counted. */
export type Phase = 'warm-up' | 'counted';

export interface Climb {
  /** Another try waits until it sheds nothing any more: it would only refuse. */
  readonly server: Pick<BenchServer, 'metrics'>;
  readonly rates: readonly number[];
  /** Tried first, in order; the lowest of the rates when absent. */
  readonly warmUpRates?: readonly number[];
}

/**
 * Runs `attempt` at the rates of the warm-up, then at each rate in turn. A failed step is run once more before
 * it counts, because one pause of a shared machine is not the server's; both runs are in the answer. The ladder ends with
 * the first rate that failed twice.
 */
export const climb = async (
  { server, rates, warmUpRates = rates.slice(0, 1) }: Climb,
  attempt: (rate: number, phase: Phase) => Promise<{ readonly run: LoadResult; readonly passed: boolean }>,
): Promise<readonly Step[]> => {
  const steps: Step[] = [];
  for (const rate of warmUpRates) {
    await attempt(rate, 'warm-up');
    await atRest(server);
  }
  for (const rate of rates) {
    for (const isLastChance of [false, true]) {
      if (isLastChance) await atRest(server);
      const { run, passed } = await attempt(rate, 'counted');
      steps.push({ rate, run, outcome: passed ? 'passed' : 'failed' });
      if (passed) break;
      if (isLastChance) return steps;
    }
  }
  return steps;
};

/** The highest step that passed, or undefined. */
export const highest = (steps: readonly Step[]): Step | undefined =>
  steps.filter((step) => step.outcome === 'passed').at(-1);
