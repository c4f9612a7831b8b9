// Low rates, where most flushes carry a message or two and batching helps least: 1 000 subscribers, and 5 000.
import type { LoadResult } from '../load-types.ts';
import {
  baseLoad,
  isComplete,
  loadColumns,
  type Measured,
  type Measuring,
  microsecondsPerDelivery,
  PAYLOAD_BYTES,
  round,
  type Row,
  publications,
  type Scenario,
} from '../scenario.ts';

interface Case {
  readonly subscribers: number;
  /** Publications per second. */
  readonly rate: number;
}

const CASES: readonly Case[] = [
  { subscribers: 1_000, rate: 100 },
  { subscribers: 5_000, rate: 20 },
  { subscribers: 5_000, rate: 100 },
];
/** One pause of a shared machine is a hundredth of a short run, and more than half of the rounds must not have one. The first does not count. */
const ROUNDS = 6;
const SETTLE_MS = 2_000;
const WARM_UP_SECONDS = 2;
const SECONDS = 6;

const nameOf = ({ subscribers, rate }: Case): string => `${subscribers} × ${rate} msg/s`;
const p99Of = (one: Case): string => `p99 at ${nameOf(one)}`;
const cpuOf = (one: Case): string => `CPU per delivery at ${nameOf(one)}`;

const runCase = ({ server, load }: Measuring, { subscribers, rate }: Case, seconds: number): Promise<LoadResult> =>
  load({
    ...baseLoad(server, subscribers),
    // What the opening left behind, collected meanwhile, is not what is measured.
    settleMs: SETTLE_MS,
    publish: publications(server, rate, rate * seconds),
  });

export const audience: Scenario = {
  name: 'audience',
  title: `Low rates: 1 channel × ${PAYLOAD_BYTES} B; each figure is the median of ${ROUNDS - 1} rounds in turns, with nothing missing in any`,
  servers: ['raw-uws', 'weir-redis'],
  rounds: ROUNDS,
  figures: [
    { name: p99Of(CASES[0]!), unit: 'ms', better: 'lower', bar: { value: 20 } },
    { name: cpuOf(CASES[0]!), unit: 'us', better: 'lower', bar: { timesRaw: 1 } },
    { name: p99Of(CASES[1]!), unit: 'ms', better: 'lower', bar: { timesRaw: 1.3 } },
    { name: p99Of(CASES[2]!), unit: 'ms', better: 'lower', bar: { timesRaw: 1 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    await runCase(measuring, CASES.at(-1)!, WARM_UP_SECONDS);
    const rows: Row[] = [];
    const runs: LoadResult[] = [];
    const figures: Record<string, number> = {};
    for (const one of CASES) {
      const run = await runCase(measuring, one, SECONDS);
      const complete = isComplete(run, one.rate * SECONDS);
      const cost = microsecondsPerDelivery(run);
      runs.push(run);
      rows.push({
        case: nameOf(one),
        outcome: complete ? 'complete' : 'incomplete',
        ...loadColumns(run),
        'us/delivery': round(cost, 3),
      });
      measuring.say(
        `${nameOf(one)}: p50 ${run.latency.p50Ms.toFixed(1)} ms, p99 ${run.latency.p99Ms.toFixed(1)} ms, ${cost.toFixed(2)} us/delivery`,
      );
      // A run that lost something is not a fast one.
      if (complete) Object.assign(figures, { [p99Of(one)]: run.latency.p99Ms, [cpuOf(one)]: cost });
    }
    return { rows, figures, runs };
  },
};
