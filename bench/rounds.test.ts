import { describe, expect, it } from 'vitest';
import { combine, inTurns } from './rounds.ts';
import type { Measured } from './scenario.ts';

const measuredAs = (figures: Record<string, number>): Measured => ({
  rows: [{ what: Object.keys(figures).join() }],
  figures,
  runs: [],
});

describe('rounds of one server', () => {
  it('are one measurement with the median of each figure, the first round apart', () => {
    const { figures, rows } = combine([100, 3, 1, 2].map((value) => measuredAs({ p99: value })));
    expect(figures).toEqual({ p99: 2 });
    expect(rows).toEqual([0, 1, 2, 3].map((round) => ({ round, what: 'p99' })));
  });

  it('are that round when there is one', () => {
    expect(combine([measuredAs({ p99: 5 })])).toEqual({ rows: [{ what: 'p99' }], figures: { p99: 5 }, runs: [] });
  });

  it('have no figure that one of them could not give', () => {
    const [first, whole, part] = [measuredAs({}), measuredAs({ p99: 1, cpu: 1 }), measuredAs({ p99: 1 })];
    expect(combine([first, whole, part]).figures).toEqual({ p99: 1 });
    expect(combine([first, part, whole]).figures).toEqual({ p99: 1 });
  });
});

describe('servers in turns', () => {
  it('are measured one after the other in every round, without one that fails', async () => {
    const order: string[] = [];
    const outcomes = await inTurns(['raw', 'weir'], 3, (name, round) => {
      order.push(`${name}${round}`);
      if (name === 'raw' && round === 2) return Promise.reject(new Error('gone'));
      return Promise.resolve(measuredAs({ p99: round }));
    });
    expect(order).toEqual(['raw1', 'weir1', 'raw2', 'weir2', 'weir3']);
    expect(outcomes.get('raw')).toEqual({ kind: 'failed', message: 'gone' });
    expect(outcomes.get('weir')).toMatchObject({ kind: 'measured', measured: { figures: { p99: 3 } } });
  });
});
