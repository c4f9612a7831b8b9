// Many channels: 1 000 connections × 10 of 1 000 channels, publications by batches of 50.
import { climb, highest } from '../ladder.ts';
import {
  baseLoad,
  isComplete,
  loadColumns,
  type Measured,
  PAYLOAD_BYTES,
  PUBLISHER_CONNECTIONS,
  type Scenario,
} from '../scenario.ts';

const CONNECTIONS = 1_000;
const CHANNELS = 1_000;
const PER_CONNECTION = 10;
const BATCH = 50;
const RATE = 10_000;
/** Publications per second; the bar is at the first, the others show what is left above it. */
const RATES = [RATE, 15_000, 20_000, 30_000];
const MAX_P99_MS = 100;

export const manyChannels: Scenario = {
  name: 'many-channels',
  title: `Many channels: ${CONNECTIONS} connections × ${PER_CONNECTION} of ${CHANNELS} channels, /v1/batch of ${BATCH}; a step passes with p99 <= ${MAX_P99_MS} ms and nothing missing`,
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [
    { name: `p99 at ${RATE} publications/s`, unit: 'ms', better: 'lower', bar: { value: 40 } },
    { name: 'sustained publications/s', unit: '/s', better: 'higher', bar: { value: RATE } },
  ],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const seconds = depth === 'quick' ? 2 : 5;
    const rates = depth === 'quick' ? RATES.slice(0, 1) : RATES;
    const steps = await climb(rates, async (rate, phase) => {
      const count = rate * seconds;
      const run = await load({
        ...baseLoad(server, CONNECTIONS),
        channels: CHANNELS,
        perConnection: PER_CONNECTION,
        publish: {
          path: '/v1/batch',
          headers: server.publishHeaders,
          rate,
          count,
          batch: BATCH,
          connections: PUBLISHER_CONNECTIONS,
          payloadBytes: PAYLOAD_BYTES,
        },
      });
      const passed = isComplete(run, count) && run.latency.p99Ms <= MAX_P99_MS;
      say(
        `${phase === 'warm-up' ? 'warm-up at ' : ''}${rate} publications/s: ${passed ? 'passed' : 'failed'}, p99 ${run.latency.p99Ms.toFixed(1)} ms`,
      );
      return { run, passed };
    });
    // The better of two tries where the first failed: the last one run at that rate.
    const atBar = steps.filter((step) => step.rate === RATE).at(-1);
    return {
      rows: steps.map(({ rate, run, outcome }) => ({ 'publications/s': rate, outcome, ...loadColumns(run) })),
      figures: {
        ...(atBar === undefined || atBar.run.missing !== 0
          ? {}
          : { [`p99 at ${RATE} publications/s`]: atBar.run.latency.p99Ms }),
        'sustained publications/s': highest(steps)?.rate ?? 0,
      },
      runs: steps.map((step) => step.run),
    };
  },
};
