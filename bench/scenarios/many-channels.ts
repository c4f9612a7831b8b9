// Many channels: 1 000 connections × 10 of 1 000 channels, publications by batches of 50.
import { climb, highest } from '../ladder.ts';
import { baseLoad, isComplete, loadColumns, type Measured, publications, type Scenario } from '../scenario.ts';

const CONNECTIONS = 1_000;
const CHANNELS = 1_000;
const PER_CONNECTION = 10;
const BATCH = 50;
/** Publications per second that have a bar of their own, and its p99, ms. */
const BARS = [
  { rate: 10_000, p99Ms: 15 },
  { rate: 20_000, p99Ms: 60 },
] as const;
/** Publications per second; the last shows what is left above the bars. */
const RATES = [10_000, 15_000, 20_000, 30_000];
const MAX_P99_MS = 100;

const nameOf = (rate: number): string => `p99 at ${rate} publications/s`;

export const manyChannels: Scenario = {
  name: 'many-channels',
  title: `Many channels: ${CONNECTIONS} connections × ${PER_CONNECTION} of ${CHANNELS} channels, /v1/batch of ${BATCH}; a step passes with p99 <= ${MAX_P99_MS} ms and nothing missing`,
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [
    ...BARS.map(
      ({ rate, p99Ms }) => ({ name: nameOf(rate), unit: 'ms', better: 'lower', bar: { value: p99Ms } }) as const,
    ),
    { name: 'sustained publications/s', unit: '/s', better: 'higher', bar: { value: BARS[1].rate } },
  ],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const seconds = depth === 'quick' ? 2 : 5;
    const rates = depth === 'quick' ? RATES.slice(0, 1) : RATES;
    // What only a queue needs is compiled by the first, as it is on a server that has had this rate for a while.
    const warmUpRates = depth === 'quick' ? rates : [BARS[1].rate, BARS[0].rate];
    const steps = await climb({ server, rates, warmUpRates }, async (rate, phase) => {
      const count = rate * seconds;
      const run = await load({
        ...baseLoad(server, CONNECTIONS),
        channels: CHANNELS,
        perConnection: PER_CONNECTION,
        publish: publications(server, rate, count, BATCH),
      });
      const passed = isComplete(run, count) && run.latency.p99Ms <= MAX_P99_MS;
      say(
        `${phase === 'warm-up' ? 'warm-up at ' : ''}${rate} publications/s: ${passed ? 'passed' : 'failed'}, p99 ${run.latency.p99Ms.toFixed(1)} ms`,
      );
      return { run, passed };
    });
    // Of two tries the last one run at that rate: the first had failed. No figure where something is missing.
    const p99At = (rate: number): Readonly<Record<string, number>> => {
      const run = steps.filter((step) => step.rate === rate).at(-1)?.run;
      return run === undefined || !isComplete(run, rate * seconds) ? {} : { [nameOf(rate)]: run.latency.p99Ms };
    };
    return {
      rows: steps.map(({ rate, run, outcome }) => ({ 'publications/s': rate, outcome, ...loadColumns(run) })),
      figures: {
        ...p99At(BARS[0].rate),
        ...p99At(BARS[1].rate),
        'sustained publications/s': highest(steps)?.rate ?? 0,
      },
      runs: steps.map((step) => step.run),
    };
  },
};
