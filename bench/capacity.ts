// The highest rate that a server sustains, found so that one pause of a shared machine does not decide it.
import type { Step } from './ladder.ts';
import type { LoadResult } from './load-types.ts';

export interface CapacityOptions {
  /** Publications per second at which the search begins. */
  readonly startRate: number;
  /** Nothing is tried beyond. */
  readonly maxRate: number;
}

export interface Capacity {
  /** Publications per second; undefined when not even a hundredth of `startRate` passed. */
  readonly rate: number | undefined;
  /** Every attempt, in order. */
  readonly steps: readonly Step[];
}

export type Attempt = (rate: number) => Promise<{ readonly run: LoadResult; readonly passed: boolean }>;

const GROWTH = 1.5;
/** The search ends when what passed and what failed are this close. */
const PRECISION = 1.12;
/** A rate that passed while it was looked for and fails when it is confirmed was luck: the next one is so much lower. */
const STEP_BACK = 1.1;

const rounded = (rate: number): number => Number(rate.toPrecision(2));

/**
 * Warms up, rises by half until a rate failed, halves the distance between what passed and what failed, and confirms
 * what it found. A rate fails when two attempts do.
 */
export const findCapacity = async ({ startRate, maxRate }: CapacityOptions, attempt: Attempt): Promise<Capacity> => {
  const steps: Step[] = [];
  const passes = async (rate: number): Promise<boolean> => {
    for (const isLastChance of [false, true]) {
      const { run, passed } = await attempt(rate);
      steps.push({ rate, run, outcome: passed ? 'passed' : 'failed' });
      if (passed || isLastChance) return passed;
    }
    return false;
  };
  await attempt(startRate);
  let low = startRate;
  while (!(await passes(low))) {
    low = rounded(low / GROWTH);
    if (low < startRate / 100) return { rate: undefined, steps };
  }
  let high = rounded(low * GROWTH);
  while (high <= maxRate && (await passes(high))) {
    low = high;
    high = rounded(low * GROWTH);
  }
  high = Math.min(high, maxRate * PRECISION);
  while (high / low > PRECISION) {
    const middle = rounded(Math.sqrt(low * high));
    if (middle <= low || middle >= high) break;
    if (await passes(middle)) low = middle;
    else high = middle;
  }
  while (!(await passes(low))) {
    low = rounded(low / STEP_BACK);
    if (low < startRate / 100) return { rate: undefined, steps };
  }
  return { rate: low, steps };
};
