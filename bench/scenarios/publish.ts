// Publish throughput: batches over HTTP with few subscribers, every publication answered with its offset.
import { climb, highest } from '../ladder.ts';
import {
  baseLoad,
  isComplete,
  type Measured,
  noteOf,
  round,
  publications,
  type Scenario,
  serverCpu,
} from '../scenario.ts';

const CHANNELS = 100;
/** Ten connections hold ten channels each, so that every delivery is checked as well. */
const CONNECTIONS = 10;
const PER_CONNECTION = 10;
const BATCH = 50;
/** Publications per second. */
const RATES = [10_000, 20_000, 30_000, 40_000, 60_000, 80_000, 120_000];
/** A schedule that waits longer than this for a free connection is not kept. */
const MAX_WAITED_P99_MS = 100;

export const publish: Scenario = {
  name: 'publish',
  title: `Publish throughput: /v1/batch of ${BATCH} over ${CHANNELS} channels; a step passes when the schedule is kept and every publication has its own offset`,
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [{ name: 'sustained publications/s', unit: '/s', better: 'higher', bar: { value: 20_000 } }],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const seconds = depth === 'quick' ? 1 : 4;
    const rates = depth === 'quick' ? RATES.slice(0, 2) : RATES;
    const steps = await climb({ server, rates }, async (rate, phase) => {
      const count = rate * seconds;
      const run = await load({
        ...baseLoad(server, CONNECTIONS),
        channels: CHANNELS,
        perConnection: PER_CONNECTION,
        publish: publications(server, rate, count, BATCH),
      });
      const passed = isComplete(run, count) && run.positionsOk && run.waited.p99Ms <= MAX_WAITED_P99_MS;
      say(
        `${phase === 'warm-up' ? 'warm-up at ' : ''}${rate} publications/s: ${passed ? 'passed' : 'failed'}, answer p99 ${run.answer.p99Ms.toFixed(1)} ms`,
      );
      return { run, passed };
    });
    return {
      rows: steps.map(({ rate, run, outcome }) => ({
        'publications/s': rate,
        outcome,
        answered: round(run.publishedPerSecond),
        'offsets contiguous': run.positionsOk ? 'yes' : 'no',
        'answer p50 ms': round(run.answer.p50Ms, 1),
        'answer p99 ms': round(run.answer.p99Ms, 1),
        'waited p99 ms': round(run.waited.p99Ms, 1),
        missing: run.missing,
        'server CPU': round(serverCpu(run), 2),
        'loader CPU': round(run.loaderCpu, 2),
        note: noteOf(run),
      })),
      figures: { 'sustained publications/s': highest(steps)?.rate ?? 0 },
      runs: steps.map((step) => step.run),
    };
  },
};
