// The decision alone: given what every node says, who asks how many to move, and whether all of them together come to rest.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeLoad } from './cluster-load.ts';
import { type BalanceStage, decideBalance } from './rebalance-decision.ts';

const nodesOf = (counts: readonly (number | undefined)[], admissionPerSecond = 1000): NodeLoad[] =>
  counts.map((connections, index) => ({ node: `n${index}`, connections, admissionPerSecond }));
const decide = (counts: readonly (number | undefined)[], index = 0, stage: BalanceStage = 'balanced') =>
  decideBalance({ nodes: nodesOf(counts), self: `n${index}`, stage, movesPerSecond: 100 });

describe('one decision', () => {
  it.each([
    ['a node that joined: each of the others asks its own surplus', [3000, 3000, 0], 0, 1000],
    ['who is below the mean asks nobody', [3000, 3000, 0], 2, 0],
    ['a difference as coming and going makes is left alone', [1050, 1000, 950], 0, 0],
    ['few connections are left alone, however uneven', [5, 0], 0, 0],
    ['one node alone has no mean to be above', [500], 0, 0],
    ['one node far below the mean is enough, also when nobody is far above', [1050, 1050, 1050, 850], 0, 50],
    ['a node that does not say how many it has is not taken for an empty one', [3000, 3000, undefined], 0, 0],
  ])('%s', (_, counts, index, surplus) => {
    expect(decide(counts, index).surplus).toBe(surplus);
  });

  it('goes on, once begun, until the nodes are nearly even', () => {
    const counts = [1040, 1000, 960];
    expect(decide(counts, 0, 'balanced')).toEqual({ stage: 'balanced', surplus: 0, perSecond: 0 });
    expect(decide(counts, 0, 'moving')).toMatchObject({ stage: 'moving', surplus: 40 });
    expect(decide([1010, 1000, 990], 0, 'moving').stage).toBe('balanced');
  });

  it('is no faster than configured, nor than its share of half of what the emptier nodes admit', () => {
    const fast = { nodes: nodesOf([3000, 3000, 0]), self: 'n0', stage: 'balanced' as const };
    expect(decideBalance({ ...fast, movesPerSecond: 100 }).perSecond).toBe(100);
    expect(decideBalance({ ...fast, movesPerSecond: 10_000 }).perSecond).toBe(250);
    const unequal = { ...fast, nodes: nodesOf([4000, 2000, 0]), movesPerSecond: 10_000 };
    expect(decideBalance(unequal).perSecond).toBe(500);
  });

  it('of a node that is not among the ready ones is to do nothing', () => {
    expect(decideBalance({ nodes: nodesOf([3000, 0]), self: 'other', stage: 'balanced', movesPerSecond: 1 })).toEqual({
      stage: 'balanced',
      surplus: 0,
      perSecond: 0,
    });
  });
});

const ROUND_S = 10;
const MOVES_PER_SECOND = 100;

/** Every node decides from the same announcements, then those asked go where the balancer sends them. */
const simulate = (
  initial: readonly number[],
  admission: number,
  choose: (counts: readonly number[]) => number,
  takesPart: (round: number, index: number) => boolean = () => true,
) => {
  const counts = [...initial];
  const stages = counts.map((): BalanceStage => 'balanced');
  const asked = counts.map(() => 0);
  const rounds: { readonly counts: readonly number[]; readonly moved: number }[] = [];
  for (let round = 0; round < 200; round++) {
    const nodes = nodesOf(counts, admission);
    const batches = counts.map((_, index) => {
      if (!takesPart(round, index)) return 0;
      const decision = decideBalance({
        nodes,
        self: `n${index}`,
        stage: stages[index]!,
        movesPerSecond: MOVES_PER_SECOND,
      });
      stages[index] = decision.stage;
      return Math.min(
        decision.surplus,
        decision.surplus === 0 ? 0 : Math.max(1, Math.floor(decision.perSecond * ROUND_S)),
      );
    });
    batches.forEach((batch, index) => {
      asked[index]! += batch;
      for (let n = 0; n < batch; n++) {
        // Make before break: while it chooses, the old connection is still there.
        counts[choose(counts)]!++;
        counts[index]!--;
      }
    });
    rounds.push({ counts: [...counts], moved: batches.reduce((sum, batch) => sum + batch, 0) });
  }
  return { rounds, asked };
};

const leastConnections = (counts: readonly number[]): number => counts.indexOf(Math.min(...counts));
const clusters = fc.array(fc.nat(5000), { minLength: 2, maxLength: 12 });

describe('all decisions together', () => {
  it('even the nodes out within a tenth of the mean, at a bounded rate, and then nobody moves any more', () => {
    fc.assert(
      fc.property(clusters, fc.integer({ min: 10, max: 2000 }), (initial, admission) => {
        const { rounds } = simulate(initial, admission, leastConnections);
        const mean = initial.reduce((sum, count) => sum + count, 0) / initial.length;
        const last = rounds.at(-1)!;
        const isSlow = admission * ROUND_S * 100 < mean * initial.length;
        if (!isSlow) {
          for (const count of last.counts) expect(Math.abs(count - mean)).toBeLessThanOrEqual(Math.max(0.1 * mean, 5));
          expect(rounds.slice(-20).every(({ moved }) => moved === 0)).toBe(true);
        }
        for (const { moved } of rounds) expect(moved).toBeLessThanOrEqual(initial.length * MOVES_PER_SECOND * ROUND_S);
      }),
      { numRuns: 150 },
    );
  });

  it('ask no more than what each has above the mean, and push nobody over it: no overshoot, no oscillation', () => {
    fc.assert(
      fc.property(clusters, (initial) => {
        const { rounds, asked } = simulate(initial, 1000, leastConnections);
        const mean = initial.reduce((sum, count) => sum + count, 0) / initial.length;
        expect(asked.filter((count, index) => count > Math.max(0, initial[index]! - mean))).toEqual([]);
        // Each between where it was and the mean, never beyond.
        const isBeyond = (count: number, index: number): boolean =>
          count < Math.min(initial[index]!, Math.floor(mean)) || count > Math.max(initial[index]!, Math.ceil(mean));
        expect(rounds.flatMap(({ counts }) => counts.filter(isBeyond))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('need not be made at the same time', () => {
    fc.assert(
      fc.property(clusters, fc.infiniteStream(fc.boolean()), (initial, coins) => {
        const isOn = (): boolean => coins.next().value as boolean;
        const { rounds, asked } = simulate(initial, 2000, leastConnections, (round) => round > 150 || isOn());
        const mean = initial.reduce((sum, count) => sum + count, 0) / initial.length;
        expect(asked.filter((count, index) => count > Math.max(0, initial[index]! - mean))).toEqual([]);
        expect(rounds.slice(-20).every(({ moved }) => moved === 0)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('come to rest also behind a balancer that goes round instead of choosing the emptiest', () => {
    fc.assert(
      fc.property(clusters, (initial) => {
        let next = 0;
        const { rounds } = simulate(initial, 2000, (counts) => next++ % counts.length);
        expect(rounds.slice(-20).every(({ moved }) => moved === 0)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});
