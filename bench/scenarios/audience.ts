// A large audience at low rates: one channel, 5 000 subscribers, where most flushes carry a single message and batching helps little.
import type { LoadResult } from '../load-types.ts';
import {
  baseLoad,
  isComplete,
  loadColumns,
  type Measured,
  type Measuring,
  microsecondsPerDelivery,
  PAYLOAD_BYTES,
  PUBLISHER_CONNECTIONS,
  round,
  type Scenario,
} from '../scenario.ts';

const SUBSCRIBERS = 5_000;
/** Publications per second. */
const RATES = [20, 100] as const;
/** The median of so many runs counts, because one pause of a shared machine is a hundredth of a short run. */
const RUNS = 3;
const SETTLE_MS = 2_000;
const p99At = (rate: number): string => `p99 at ${rate} msg/s`;

const runAt = ({ server, load }: Measuring, rate: number, seconds: number): Promise<LoadResult> =>
  load({
    ...baseLoad(server, SUBSCRIBERS),
    // What the opening left behind, collected meanwhile, is not what is measured.
    settleMs: SETTLE_MS,
    publish: {
      path: '/v1/publish',
      headers: server.publishHeaders,
      rate,
      count: rate * seconds,
      batch: 1,
      connections: PUBLISHER_CONNECTIONS,
      payloadBytes: PAYLOAD_BYTES,
    },
  });

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

export const audience: Scenario = {
  name: 'audience',
  title: `Large audience: 1 channel × ${SUBSCRIBERS} subscribers × ${PAYLOAD_BYTES} B; p99 is the median of ${RUNS} runs with nothing missing`,
  servers: ['raw-uws', 'weir-redis'],
  figures: [
    { name: p99At(RATES[0]), unit: 'ms', better: 'lower', bar: { timesRaw: 1.3 } },
    { name: p99At(RATES[1]), unit: 'ms', better: 'lower', bar: { timesRaw: 1 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const { depth, say } = measuring;
    const [runs, seconds] = depth === 'quick' ? [1, 3] : [RUNS, 8];
    await runAt(measuring, RATES[1], 2);
    const measured: { rate: number; run: LoadResult; complete: boolean }[] = [];
    for (const rate of RATES) {
      for (let n = 0; n < runs; n += 1) {
        const run = await runAt(measuring, rate, seconds);
        measured.push({ rate, run, complete: isComplete(run, rate * seconds) });
        say(`${rate} msg/s: p50 ${run.latency.p50Ms.toFixed(1)} ms, p99 ${run.latency.p99Ms.toFixed(1)} ms`);
      }
    }
    const figures = RATES.flatMap((rate): [string, number][] => {
      const steps = measured.filter((step) => step.rate === rate);
      // A run that lost something is not a fast one.
      if (!steps.every(({ complete }) => complete)) return [];
      return [[p99At(rate), median(steps.map(({ run }) => run.latency.p99Ms))]];
    });
    return {
      rows: measured.map(({ rate, run, complete }) => ({
        'msg/s': rate,
        outcome: complete ? 'complete' : 'incomplete',
        ...loadColumns(run),
        'us/delivery': round(microsecondsPerDelivery(run), 3),
      })),
      figures: Object.fromEntries(figures),
      runs: measured.map(({ run }) => run),
    };
  },
};
