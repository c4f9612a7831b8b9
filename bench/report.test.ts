// Ladder, verdicts, tables and arguments of the bench.
import { expect, test } from 'vitest';
import { parseBenchArguments } from './arguments.ts';
import { climb, highest } from './ladder.ts';
import type { LoadResult } from './load-types.ts';
import { judge, type Outcome, table } from './report.ts';
import type { ServerName } from './servers.ts';

const run = {} as LoadResult;
const measured = (figures: Record<string, number>): Outcome => ({
  kind: 'measured',
  measured: { rows: [], figures, runs: [] },
});
const outcomes = (raw: number | undefined, weir: number | undefined) =>
  new Map<ServerName, Outcome>([
    ['raw-uws', raw === undefined ? { kind: 'failed', message: 'no' } : measured({ rate: raw })],
    ['weir-redis', weir === undefined ? { kind: 'failed', message: 'no' } : measured({ rate: weir })],
  ]);

test('a ladder ends at the first rate that fails twice and does not count it', async () => {
  const asked: string[] = [];
  const attempt = (rate: number, phase: string) => {
    asked.push(`${phase} ${rate}`);
    return Promise.resolve({ run, passed: rate < 2 });
  };
  const metrics = () => {
    asked.push('rest');
    return Promise.resolve('weir_overload_level 0\n');
  };
  const steps = await climb({ server: { metrics }, rates: [1, 2, 3] }, attempt);
  expect(asked).toEqual(['warm-up 1', 'rest', 'counted 1', 'counted 2', 'rest', 'counted 2']);
  expect(highest(steps)?.rate).toBe(1);
});

test('a ladder warms up at the rates it is told', async () => {
  const asked: string[] = [];
  const attempt = (rate: number, phase: string) => {
    asked.push(`${phase} ${rate}`);
    return Promise.resolve({ run, passed: true });
  };
  await climb({ server: {}, rates: [1, 2], warmUpRates: [5, 4] }, attempt);
  expect(asked).toEqual(['warm-up 5', 'warm-up 4', 'counted 1', 'counted 2']);
});

test('a step that fails once and then passes counts, and both runs are kept', async () => {
  let tries = 0;
  const steps = await climb({ server: {}, rates: [1] }, () => Promise.resolve({ run, passed: (tries += 1) === 3 }));
  expect(steps.map(({ outcome }) => outcome)).toEqual(['failed', 'passed']);
  expect(highest(steps)?.rate).toBe(1);
});

test('a ladder without any passed step has no highest', async () => {
  expect(
    highest(await climb({ server: {}, rates: [1] }, () => Promise.resolve({ run, passed: false }))),
  ).toBeUndefined();
});

test('a bar relative to raw needs the raw figure of the same run', () => {
  const figure = { name: 'rate', unit: '/s', better: 'higher' as const, bar: { timesRaw: 1 } };
  expect(judge(figure, outcomes(undefined, 5))).toBeUndefined();
  expect(judge(figure, outcomes(5, undefined))).toBeUndefined();
  expect(judge(figure, outcomes(5, 4))?.verdict).toBe('missed');
  expect(judge(figure, outcomes(5, 5))?.verdict).toBe('reached');
});

test('a bar for which lower is better is missed above it', () => {
  const figure = { name: 'rate', unit: 'ms', better: 'lower' as const, bar: { value: 10 } };
  expect(judge(figure, outcomes(undefined, 10.1))?.verdict).toBe('missed');
  expect(judge(figure, outcomes(undefined, 10))?.verdict).toBe('reached');
});

test('a bar is judged on the embedded broker where nothing else is measured', () => {
  const figure = { name: 'rate', unit: '/s', better: 'higher' as const, bar: { value: 5 } };
  const memory = ['weir-memory', measured({ rate: 7 })] as const;
  expect(judge(figure, new Map<ServerName, Outcome>([memory]))).toMatchObject({ value: 7, verdict: 'reached' });
  expect(judge(figure, new Map<ServerName, Outcome>([memory, ...outcomes(1, 4)]))).toMatchObject({ value: 4 });
});

test('a table aligns its columns, fills holes and drops columns without values', () => {
  expect(
    table([
      { name: 'a', rate: 1_000, note: '' },
      { name: 'longer', more: 'x', note: '' },
    ]),
  ).toBe(['name     rate  more', '------  -----  ----', 'a       1,000', 'longer         x'].join('\n'));
});

test.each([
  [['--scenario', 'fanout,nothing'], '--scenario: one of fanout, stall expected, got "nothing"'],
  [
    ['--server', 'uws'],
    '--server: one of raw-uws, npm-ws, weir-redis, weir-events, weir-haproxy, weir-replicated, weir-memory, weir-cluster expected, got "uws"',
  ],
  [['--wrong'], "Unknown option '--wrong'"],
])('arguments %j are refused by name', (argv, message) => {
  const parsed = parseBenchArguments(argv, ['fanout', 'stall']);
  expect(parsed.kind).toBe('error');
  expect(parsed.kind === 'error' ? parsed.message : '').toContain(message);
});

test('arguments choose scenarios, servers, depth and the file', () => {
  expect(
    parseBenchArguments(
      ['--scenario', 'stall', '--server', 'raw-uws', '--quick', '--json', 'x.json'],
      ['fanout', 'stall'],
    ),
  ).toEqual({
    kind: 'run',
    values: {
      scenarios: ['stall'],
      servers: ['raw-uws'],
      throughHaproxy: false,
      depth: 'quick',
      nodeArgs: [],
      jsonPath: 'x.json',
    },
  });
});
