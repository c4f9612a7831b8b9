// Overload: publishers ask for more than a node can do, in steps to three times its capacity and back.
import { setTimeout as pause } from 'node:timers/promises';
import { climb, highest } from '../ladder.ts';
import type { LoadResult } from '../load-types.ts';
import {
  baseLoad,
  isComplete,
  type Measured,
  type Measuring,
  noteOf,
  PAYLOAD_BYTES,
  PUBLISHER_CONNECTIONS,
  round,
  type Row,
  type Scenario,
  serverCpu,
} from '../scenario.ts';

const SUBSCRIBERS = 100;
const MAX_P99_MS = 100;
/** Publications per second among which the capacity is found. */
const RATES = [2_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000, 12_000, 14_000, 16_000];
const STEPS = [1, 1.5, 2, 3, 2, 1, 0.25];
const SECONDS = 12;
/** The ladder needs about 2 s to its top and the rate some more to settle: what is published meanwhile is not counted. */
const UNCOUNTED_MS = 5_000;
const POLL_MS = 100;

const publishAt = (
  { server, load }: Measuring,
  rate: number,
  seconds: number,
  uncountedMs: number,
): Promise<LoadResult> =>
  load({
    ...baseLoad(server, SUBSCRIBERS),
    sampleEvery: 10,
    settleMs: 100,
    // They come between two steps, while the ladder may still be up: they say that they were here before.
    frames: ['{"id":1,"type":"connect","resume":true}'],
    publish: {
      path: '/v1/publish',
      headers: server.publishHeaders,
      rate,
      count: Math.round(rate * seconds),
      batch: 1,
      connections: PUBLISHER_CONNECTIONS,
      payloadBytes: PAYLOAD_BYTES,
      uncountedMs,
    },
  });

/** Everything accepted arrived once and in order. */
const isHonest = (run: LoadResult): boolean =>
  run.missing === 0 && run.skipped + run.duplicates + run.gaps + run.unreadable === 0 && run.closed === 0;

const levelIn = (metrics: string): number => Number(/^weir_overload_level (\S+)$/m.exec(metrics)?.[1] ?? Number.NaN);

/** The level of the ladder while `work` runs, each change once. */
const watchLevel = async <T>(
  metrics: () => Promise<string>,
  work: Promise<T>,
): Promise<{ readonly run: T; readonly levels: readonly number[] }> => {
  const levels: number[] = [];
  const ended = new AbortController();
  const watching = (async (): Promise<void> => {
    while (!ended.signal.aborted) {
      const level = levelIn(await metrics());
      if (level !== levels.at(-1)) levels.push(level);
      await pause(POLL_MS);
    }
  })();
  const run = await work.finally(() => ended.abort());
  await watching;
  return { run, levels };
};

/** How often the level turned from rising to falling or back. */
const turnsOf = (levels: readonly number[]): number => {
  const directions = levels.slice(1).map((level, index) => Math.sign(level - levels[index]!));
  return directions.slice(1).filter((direction, index) => direction !== directions[index]).length;
};

export const overload: Scenario = {
  name: 'overload',
  title: `Overload: 1 channel × ${SUBSCRIBERS} subscribers × ${PAYLOAD_BYTES} B; publishers ask for ${STEPS.join(', ')} times the capacity, the highest rate with p99 <= ${MAX_P99_MS} ms and nothing refused`,
  servers: ['weir-redis'],
  figures: [
    { name: 'kept of the capacity at 1.5 and 2 times', unit: '', better: 'higher', bar: { value: 0.9 } },
    { name: 'p99 of what was admitted at 1.5 and 2 times', unit: 'ms', better: 'lower', bar: { value: 250 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const { server, depth, say } = measuring;
    const { metrics } = server;
    if (metrics === undefined) throw new Error(`${server.name} has no overload ladder`);
    const isQuick = depth === 'quick';
    const climbSeconds = isQuick ? 3 : 6;
    const climbed = await climb(RATES, async (rate) => {
      const run = await publishAt(measuring, rate, climbSeconds, 1000);
      const passed = isComplete(run, Math.round(rate * climbSeconds)) && run.latency.p99Ms <= MAX_P99_MS;
      say(
        `${rate} msg/s: ${passed ? 'passed' : 'failed'}, p99 ${run.latency.p99Ms.toFixed(1)} ms, CPU ${serverCpu(run).toFixed(2)}, ${run.refused} refused`,
      );
      return { run, passed };
    });
    const capacity = highest(climbed)?.rate ?? 0;
    if (capacity === 0) throw new Error('not even the lowest rate passed');
    const rows: Row[] = [];
    const runs: LoadResult[] = [];
    const kept: number[] = [];
    const p99s: number[] = [];
    for (const step of STEPS) {
      const rate = Math.round(capacity * step);
      const work = publishAt(measuring, rate, isQuick ? 8 : SECONDS, UNCOUNTED_MS);
      const { run, levels } = await watchLevel(metrics, work);
      runs.push(run);
      const share = run.publishedPerSecond / capacity;
      if (step === 1.5 || step === 2) {
        kept.push(share);
        p99s.push(run.latency.p99Ms);
      }
      say(`${step} times: ${round(share, 2)} kept, p99 ${run.latency.p99Ms.toFixed(1)} ms, levels ${levels.join(' ')}`);
      rows.push({
        times: step,
        'asked/s': rate,
        'admitted/s': round(run.publishedPerSecond),
        kept: round(share, 2),
        refused: run.refused,
        'p50 ms': round(run.latency.p50Ms, 1),
        'p99 ms': round(run.latency.p99Ms, 1),
        missing: run.missing,
        levels: levels.join(' '),
        turns: turnsOf(levels),
        'server CPU': round(serverCpu(run), 2),
        'loader CPU': round(run.loaderCpu, 2),
        note: noteOf(run),
      });
    }
    return {
      rows,
      // Without a refusal nothing was saturated: what was found is the capacity of a disturbed climb, and no figure.
      figures:
        runs.every(isHonest) && runs.some(({ refused }) => refused > 0)
          ? {
              'kept of the capacity at 1.5 and 2 times': Math.min(...kept),
              'p99 of what was admitted at 1.5 and 2 times': Math.max(...p99s),
            }
          : {},
      runs: [...climbed.map((step) => step.run), ...runs],
    };
  },
};
