// Fan-out: one channel, 1 000 subscribers, 128 B, at rising rates.
import { climb, highest } from '../ladder.ts';
import {
  baseLoad,
  isComplete,
  loadColumns,
  type Measured,
  PAYLOAD_BYTES,
  publications,
  type Scenario,
} from '../scenario.ts';
import type { ServerName } from '../servers.ts';

const SUBSCRIBERS = 1_000;
const MAX_P99_MS = 100;
/** The bar of deliveries per second holds with this p99, ms. */
const BAR_P99_MS = 60;
const SUSTAINED = 'sustained deliveries/s';
const SUSTAINED_IN_TIME = `sustained deliveries/s with p99 <= ${BAR_P99_MS} ms`;
/** Publications per second; the bar is one of them. */
const RATES = [100, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 12_000, 14_000, 16_000];
/** npm `ws` ends between 100 and 500. */
const FINE_RATES = [50, 100, 150, 200, 300, 500, 1_000];

const ratesFor = (server: ServerName, isQuick: boolean): readonly number[] => {
  const rates = server === 'npm-ws' ? FINE_RATES : RATES;
  return isQuick ? rates.filter((_, index) => index % 2 === 0) : rates;
};

export const fanout: Scenario = {
  name: 'fanout',
  title: `Fan-out: 1 channel × ${SUBSCRIBERS} subscribers × ${PAYLOAD_BYTES} B; a step passes with p99 <= ${MAX_P99_MS} ms and nothing missing`,
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [
    { name: SUSTAINED, unit: '/s', better: 'higher', bar: { timesRaw: 2 } },
    { name: SUSTAINED_IN_TIME, unit: '/s', better: 'higher', bar: { value: 5_000_000 } },
  ],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const isQuick = depth === 'quick';
    const seconds = isQuick ? 2 : 5;
    const steps = await climb({ server, rates: ratesFor(server.name, isQuick) }, async (rate, phase) => {
      const count = rate * seconds;
      const run = await load({
        ...baseLoad(server, SUBSCRIBERS),
        publish: publications(server, rate, count),
      });
      const passed = isComplete(run, count) && run.latency.p99Ms <= MAX_P99_MS;
      say(
        `${phase === 'warm-up' ? 'warm-up at ' : ''}${rate} msg/s: ${passed ? 'passed' : 'failed'}, p99 ${run.latency.p99Ms.toFixed(1)} ms`,
      );
      return { run, passed };
    });
    const inTime = steps.filter(({ outcome, run }) => outcome === 'passed' && run.latency.p99Ms <= BAR_P99_MS).at(-1);
    return {
      rows: steps.map(({ rate, run, outcome }) => ({ 'msg/s': rate, outcome, ...loadColumns(run) })),
      figures: {
        // By the schedule, which a passed step has kept: the measured rate differs by the tail of the last flush.
        [SUSTAINED]: (highest(steps)?.rate ?? 0) * SUBSCRIBERS,
        [SUSTAINED_IN_TIME]: (inTime?.rate ?? 0) * SUBSCRIBERS,
      },
      runs: steps.map((step) => step.run),
    };
  },
};
