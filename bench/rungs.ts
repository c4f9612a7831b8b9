// What the overload ladder of a node did between two looks at its metrics, however quickly: counters and times, no polling.
import { setTimeout as pause } from 'node:timers/promises';
import { RUNGS } from '../gateway/overload/ladder.ts';
import { sampleOf } from './metrics.ts';
import type { BenchServer } from './servers.ts';

/** Eight rungs of 2 s each, and as much again for the machine. */
const RELEASE_TIMEOUT_MS = 40_000;
const RELEASE_POLL_MS = 250;

export interface RungState {
  /** Times it was engaged and released since the node started. */
  readonly engaged: number;
  readonly released: number;
  /** Unix time of the last change of each kind, s; 0 before the first. */
  readonly engagedAt: number;
  readonly releasedAt: number;
}

export interface LadderState {
  readonly level: number;
  /** In the order of the ladder. */
  readonly rungs: readonly RungState[];
}

export const readLadder = (metrics: string): LadderState => {
  const level = sampleOf(metrics, 'weir_overload_level');
  const changedAt = (rung: string, change: string): number =>
    sampleOf(metrics, `weir_overload_changed_timestamp_seconds{rung="${rung}",change="${change}"}`);
  const rungs = RUNGS.map((rung, index): RungState => {
    const released = sampleOf(metrics, `weir_overload_released_total{rung="${rung}"}`);
    return {
      released,
      // Its own counter has a series for each signal, and several may press at once.
      engaged: released + (level > index ? 1 : 0),
      engagedAt: changedAt(rung, 'engaged'),
      releasedAt: changedAt(rung, 'released'),
    };
  });
  return { level, rungs };
};

/** Waits until every rung is released; the state then, or after a time that is enough for all. */
export const settled = async (metrics: () => Promise<string>): Promise<LadderState> => {
  const startedAt = performance.now();
  let state = readLadder(await metrics());
  while (state.level > 0 && performance.now() - startedAt < RELEASE_TIMEOUT_MS) {
    await pause(RELEASE_POLL_MS);
    state = readLadder(await metrics());
  }
  return state;
};

/** Resolves when a server sheds nothing any more; at once where it has no ladder. */
export const atRest = async ({ metrics }: Pick<BenchServer, 'metrics'>): Promise<void> => {
  if (metrics !== undefined) await settled(metrics);
};

export interface LadderCourse {
  /** Rungs that were engaged in between, from 1. */
  readonly engaged: readonly number[];
  readonly released: readonly number[];
  /** Engagements beyond the first of each rung: what a ladder that swings has many of. */
  readonly returns: number;
  /** Changes that did not come in order: up from the lowest, down from the highest. */
  readonly disorder: number;
}

/** Neighbours of which the second came before the first. */
const inversions = (times: readonly number[]): number =>
  times.slice(1).filter((time, index) => time < times[index]!).length;

export const courseBetween = (before: LadderState, after: LadderState): LadderCourse => {
  const changes = after.rungs.map((rung, index) => ({
    number: index + 1,
    engaged: rung.engaged - before.rungs[index]!.engaged,
    released: rung.released - before.rungs[index]!.released,
    ...{ engagedAt: rung.engagedAt, releasedAt: rung.releasedAt },
  }));
  const engaged = changes.filter((change) => change.engaged > 0);
  const released = changes.filter((change) => change.released > 0);
  return {
    engaged: engaged.map(({ number }) => number),
    released: released.map(({ number }) => number),
    returns: engaged.reduce((sum, change) => sum + change.engaged - 1, 0),
    disorder:
      inversions(engaged.map(({ engagedAt }) => engagedAt)) +
      inversions(released.map(({ releasedAt }) => -releasedAt)) +
      released.filter(({ engagedAt, releasedAt }) => releasedAt < engagedAt).length,
  };
};
