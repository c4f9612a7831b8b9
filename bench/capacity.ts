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
 * what it found. A rate fails when two attempts do. Half as much again is tried at the end, since the search is also what
 * warms a server's code up: when that passes, the search goes on from there.
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
  /** Down from a rate by a factor until one passes; undefined when nothing does. */
  const descend = async (from: number, by: number): Promise<number | undefined> => {
    let rate = from;
    while (!(await passes(rate))) {
      rate = rounded(rate / by);
      if (rate < startRate / 100) return undefined;
    }
    return rate;
  };
  const rise = async (from: number): Promise<number | undefined> => {
    let low = from;
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
    return descend(low, STEP_BACK);
  };

  await attempt(startRate);
  let from = await descend(startRate, GROWTH);
  let rate: number | undefined;
  while (from !== undefined) {
    rate = await rise(from);
    const beyond = rate === undefined ? Infinity : rounded(rate * GROWTH);
    from = beyond <= maxRate && (await passes(beyond)) ? beyond : undefined;
  }
  return { rate, steps };
};
