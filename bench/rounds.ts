// Measures several servers in turns: a shared machine is fast in one minute and slow in the next, and all shall have both.
import type { Outcome } from './report.ts';
import type { Measured } from './scenario.ts';

/** The middle one; of an even number the upper of the two. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/**
 * Rows and runs of all rounds, and the median of each figure. Of several the first one only warms the servers' code up: it is shown and
 * does not count. A figure that a round could not give has none.
 */
export const combine = (rounds: readonly Measured[]): Measured => {
  const counted = rounds.length === 1 ? rounds : rounds.slice(1);
  const names = Object.keys(counted[0]?.figures ?? {});
  const figures = names.flatMap((name): [string, number][] => {
    const values = counted.flatMap((round) => round.figures[name] ?? []);
    return values.length === counted.length ? [[name, median(values)]] : [];
  });
  return {
    rows: rounds.flatMap(({ rows }, index) =>
      rounds.length === 1 ? rows : rows.map((row) => ({ round: index, ...row })),
    ),
    figures: Object.fromEntries(figures),
    runs: rounds.flatMap(({ runs }) => runs),
  };
};

/**
 * Measures each server once per round. A server that fails is left out from then on.
 * @param measure what one round of one server is
 */
export const inTurns = async <Name>(
  names: readonly Name[],
  rounds: number,
  measure: (name: Name, round: number) => Promise<Measured>,
): Promise<ReadonlyMap<Name, Outcome>> => {
  const measured = new Map<Name, Measured[]>(names.map((name) => [name, []]));
  const failed = new Map<Name, Outcome>();
  for (let round = 1; round <= rounds; round++) {
    for (const [name, own] of measured) {
      if (failed.has(name)) continue;
      try {
        own.push(await measure(name, round));
      } catch (error) {
        // One server that cannot be measured must not cost the figures of the others.
        failed.set(name, { kind: 'failed', message: error instanceof Error ? error.message : String(error) });
      }
    }
  }
  return new Map(
    [...measured].map(([name, own]) => [name, failed.get(name) ?? { kind: 'measured', measured: combine(own) }]),
  );
};
