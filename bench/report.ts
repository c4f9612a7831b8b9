// Tables for the terminal and the comparison with the controls and the bars.
import type { Figure, Measured, Row, Scenario } from './scenario.ts';
import type { ServerName } from './servers.ts';

/** What became of a scenario on one server. */
export type Outcome =
  | { readonly kind: 'measured'; readonly measured: Measured }
  | { readonly kind: 'failed'; readonly message: string };

export interface ScenarioReport {
  readonly scenario: Pick<Scenario, 'name' | 'title' | 'figures'>;
  readonly outcomes: ReadonlyMap<ServerName, Outcome>;
}

export interface Verdict {
  readonly figure: string;
  readonly value: number;
  readonly limit: number;
  readonly verdict: 'reached' | 'missed';
}

const thousands = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 2 });

const show = (value: number | string | undefined): string =>
  typeof value === 'number' ? thousands(value) : (value ?? '');

/** Columns as wide as their widest cell, numbers to the right. Columns without any value are left out. */
export const table = (rows: readonly Row[]): string => {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((column) =>
    rows.some((row) => show(row[column]) !== ''),
  );
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => show(row[column]).length)));
  const line = (cell: (column: string) => string, isNumber: (column: string) => boolean): string =>
    columns
      .map((column, index) =>
        isNumber(column) ? cell(column).padStart(widths[index] ?? 0) : cell(column).padEnd(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const isNumeric = (column: string): boolean => rows.some((row) => typeof row[column] === 'number');
  return [
    line((column) => column, isNumeric),
    line((column) => '-'.repeat(widths[columns.indexOf(column)] ?? 0), isNumeric),
    ...rows.map((row) => line((column) => show(row[column]), isNumeric)),
  ].join('\n');
};

const figureOf = (outcome: Outcome | undefined, name: string): number | undefined =>
  outcome?.kind === 'measured' ? outcome.measured.figures[name] : undefined;

/** What a bar is for: through Redis, one node or a cluster; on the embedded broker only where nothing else is measured. */
const JUDGED = ['weir-redis', 'weir-cluster', 'weir-memory'] as const;

/** Weir against the bar of one figure; undefined where there is no bar or nothing to compare. */
export const judge = (figure: Figure, outcomes: ReadonlyMap<ServerName, Outcome>): Verdict | undefined => {
  const judged = JUDGED.find((server) => outcomes.has(server));
  const value = judged === undefined ? undefined : figureOf(outcomes.get(judged), figure.name);
  const raw = figureOf(outcomes.get('raw-uws'), figure.name);
  if (figure.bar === undefined || value === undefined) return undefined;
  const limit = 'value' in figure.bar ? figure.bar.value : raw === undefined ? undefined : raw * figure.bar.timesRaw;
  if (limit === undefined) return undefined;
  const isReached = figure.better === 'higher' ? value >= limit : value <= limit;
  return { figure: figure.name, value, limit, verdict: isReached ? 'reached' : 'missed' };
};

const comparison = ({ scenario, outcomes }: ScenarioReport): string => {
  const raw = outcomes.get('raw-uws');
  const rows = scenario.figures.map((figure): Row => {
    const cells: Record<string, number | string> = { figure: `${figure.name} (${figure.unit})` };
    for (const [server, outcome] of outcomes) cells[server] = figureOf(outcome, figure.name) ?? 'none';
    const reference = figureOf(raw, figure.name);
    for (const server of ['weir-redis', 'weir-memory'] as const) {
      const own = figureOf(outcomes.get(server), figure.name);
      if (own !== undefined && reference !== undefined && reference > 0) {
        cells[`${server} / raw`] = `${thousands(own / reference)} ×`;
      }
    }
    const direct = figureOf(outcomes.get('weir-redis'), figure.name);
    for (const server of ['weir-events', 'weir-replicated', 'weir-haproxy'] as const) {
      const own = figureOf(outcomes.get(server), figure.name);
      if (direct === undefined || own === undefined || direct <= 0) continue;
      cells[`${server} / weir-redis`] = `${thousands(own / direct)} ×`;
    }
    const verdict = judge(figure, outcomes);
    const sign = figure.better === 'higher' ? '>=' : '<=';
    if (verdict !== undefined) cells['bar'] = `${sign} ${thousands(verdict.limit)}: ${verdict.verdict}`;
    return cells;
  });
  return table(rows);
};

export const renderScenario = (report: ScenarioReport): string => {
  const parts = [`\n${report.scenario.title}`];
  for (const [server, outcome] of report.outcomes) {
    parts.push(
      `\n${server}`,
      outcome.kind === 'measured' ? table(outcome.measured.rows) : `failed: ${outcome.message}`,
    );
  }
  parts.push('', comparison(report));
  return parts.join('\n');
};
