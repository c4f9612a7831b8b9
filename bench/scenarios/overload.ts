// Overload: publishers ask for more than a server can do, and for Weir in one step to three times its capacity and back.
import { findCapacity } from '../capacity.ts';
import type { LoadResult } from '../load-types.ts';
import { median } from '../rounds.ts';
import { atRest, courseBetween, settled } from '../rungs.ts';
import {
  baseLoad,
  isComplete,
  type Measured,
  type Measuring,
  noteOf,
  PAYLOAD_BYTES,
  round,
  type Row,
  publications,
  type Scenario,
  serverCpu,
} from '../scenario.ts';

const SUBSCRIBERS = 100;
/** So many that what waits, waits at the server: with few connections a full server makes publishers late, and never knows. With 512 and batches of 10 a node that does 100 000/s answers all within 50 ms and turns nobody away. */
const PUBLISHERS = 2_048;
/** Publications per POST, as backends send them under load. A refusal costs the same however many it refuses. */
const BATCH = 10;
/** Publishers are late until the ladder is at its top: that alone shall not end a run. */
const GIVE_UP_MS = 4_000;
const MAX_P99_MS = 100;
const START_RATE = 4_000;
const MAX_RATE = 100_000;
/** Of the capacity. */
const TIMES = [1.5, 2] as const;
/** What a shared machine can do changes within a minute: of what was kept in so many rounds the median counts, of the latency the worst. */
const ROUNDS = 3;
const PEAK = 3;
/** Before and after the peak. */
const CALM = 0.5;
const SEARCH_SECONDS = 4;
/** What takes longer to arrive is missing, at any of these bars. */
const DRAIN_MS = 2_000;
const SECONDS = 10;
const CALM_SECONDS = 5;
/**
 * The ladder needs 2.25 s to its top, and publishers that found no free connection until then catch up with a schedule that
 * does not wait: the latency of what was due in this time is theirs as well, and is shown apart.
 */
const EARLY_MS = 4_000;

const FIGURES = {
  kept: 'kept of the capacity at 1.5 and 2 times',
  p99: 'p99 of what was admitted at 1.5 and 2 times',
  stepP99: 'p99 of what was admitted in a step to 3 times and back',
  disorder: 'rungs that moved out of order or came back in that step',
} as const;

const publishAt = ({ server, load }: Measuring, rate: number, seconds: number, earlyMs = 0): Promise<LoadResult> =>
  load({
    ...baseLoad(server, SUBSCRIBERS),
    sampleEvery: 10,
    settleMs: 100,
    drainMs: DRAIN_MS,
    // They come between two steps, while the ladder may still be up: they say that they were here before.
    frames: ['{"id":1,"type":"connect","resume":true}'],
    publish: {
      ...publications(server, rate, Math.round(rate * seconds), BATCH),
      connections: PUBLISHERS,
      earlyMs,
      giveUpMs: GIVE_UP_MS,
    },
  });

/** Publications per second that reached the subscribers. */
const deliveredRate = (run: LoadResult): number => run.deliveriesPerSecond / SUBSCRIBERS;

/** What was accepted arrived once and in order, and the rest was told when to come back. */
const isHonest = (run: LoadResult): boolean =>
  run.missing === 0 &&
  run.skipped + run.duplicates + run.gaps + run.unreadable === 0 &&
  run.closed === 0 &&
  run.throttled === run.refused;

const rowOf = (what: string, rate: number, capacity: number, run: LoadResult): Row => ({
  what,
  'asked/s': rate,
  'delivered/s': round(deliveredRate(run)),
  kept: round(deliveredRate(run) / capacity, 2),
  '429 with Retry-After': run.throttled,
  'other refusals': run.refused - run.throttled,
  'p50 ms': round(run.latency.p50Ms, 1),
  'p99 ms': round(run.latency.p99Ms, 1),
  'before p99 ms': round(run.early.p99Ms, 1),
  missing: run.missing,
  gaps: run.gaps,
  'server CPU': round(serverCpu(run), 2),
  'loader CPU': round(run.loaderCpu, 2),
  note: noteOf(run),
});

const listed = (rungs: readonly number[]): string => (rungs.length === 0 ? 'none' : rungs.join(' '));

/** From calm to three times the capacity and back, and what the ladder did meanwhile. */
const stepLoad = async (measuring: Measuring, metrics: () => Promise<string>, capacity: number) => {
  const calm = Math.round(capacity * CALM);
  const peak = Math.round(capacity * PEAK);
  const before = await settled(metrics);
  const first = await publishAt(measuring, calm, CALM_SECONDS);
  const over = await publishAt(measuring, peak, SECONDS, EARLY_MS);
  const last = await publishAt(measuring, calm, CALM_SECONDS);
  const after = await settled(metrics);
  const course = courseBetween(before, after);
  const runs = [first, over, last];
  const rows = runs.map(
    (run, index): Row => ({
      ...rowOf(['before the step', 'step', 'after the step'][index]!, index === 1 ? peak : calm, capacity, run),
      ...(index === 1 && {
        engaged: listed(course.engaged),
        released: listed(course.released),
        'came back': course.returns,
        'out of order': course.disorder,
      }),
    }),
  );
  const figures: Record<string, number> = {
    [FIGURES.stepP99]: Math.max(...runs.map(({ latency }) => latency.p99Ms)),
    // A ladder that is still up has not released anything in order.
    ...(before.level === 0 && after.level === 0 && { [FIGURES.disorder]: course.disorder + course.returns }),
  };
  return { rows, runs, figures, isValid: runs.every(isHonest) && over.throttled > 0 };
};

export const overload: Scenario = {
  name: 'overload',
  title: `Overload: 1 channel × ${SUBSCRIBERS} subscribers × ${PAYLOAD_BYTES} B; ${PUBLISHERS} publishers with batches of ${BATCH} ask for ${TIMES.join(' and ')} times the capacity (the highest rate with p99 <= ${MAX_P99_MS} ms and nothing refused), then in a step for ${PEAK} times`,
  servers: ['raw-uws', 'weir-redis'],
  figures: [
    { name: FIGURES.kept, unit: '', better: 'higher', bar: { value: 0.9 } },
    { name: FIGURES.p99, unit: 'ms', better: 'lower', bar: { value: 250 } },
    { name: FIGURES.stepP99, unit: 'ms', better: 'lower', bar: { value: 250 } },
    { name: FIGURES.disorder, unit: '', better: 'lower', bar: { value: 0 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const { server, depth, say } = measuring;
    const { metrics } = server;
    const isQuick = depth === 'quick';
    const found = await findCapacity({ startRate: START_RATE, maxRate: MAX_RATE }, async (rate) => {
      const seconds = isQuick ? 2 : SEARCH_SECONDS;
      const run = await publishAt(measuring, rate, seconds, 500);
      const passed = isComplete(run, Math.round(rate * seconds)) && run.latency.p99Ms <= MAX_P99_MS;
      say(
        `${rate} msg/s: ${passed ? 'passed' : 'failed'}, p99 ${run.latency.p99Ms.toFixed(1)} ms, ${run.refused} refused`,
      );
      // Another try would only be refused.
      if (run.refused > 0) await atRest(server);
      return { run, passed };
    });
    const { rate: capacity } = found;
    if (capacity === undefined) throw new Error('not even the lowest rate passed');
    const runs: LoadResult[] = found.steps.map(({ run }) => run);
    // What failed above it comes after it.
    const confirmed = found.steps.findLast(({ outcome }) => outcome === 'passed')!.run;
    const rows: Row[] = [rowOf('capacity', capacity, capacity, confirmed)];
    // Before the rest: a rung that has just been released is held for longer when it comes back.
    const stepped = metrics === undefined ? undefined : await stepLoad(measuring, metrics, capacity);
    const over = new Map<number, LoadResult[]>(TIMES.map((times) => [times, []]));
    for (let n = 1; n <= (isQuick ? 1 : ROUNDS); n += 1) {
      await atRest(server);
      for (const [times, ofTimes] of over) {
        const rate = Math.round(capacity * times);
        const run = await publishAt(measuring, rate, SECONDS, metrics === undefined ? 0 : EARLY_MS);
        ofTimes.push(run);
        rows.push(rowOf(`${times} times`, rate, capacity, run));
        say(`${times} times: ${round(deliveredRate(run) / capacity, 2)} kept, p99 ${run.latency.p99Ms.toFixed(1)} ms`);
      }
    }
    const all = [...over.values()].flat();
    const figures = {
      [FIGURES.kept]: Math.min(
        ...[...over.values()].map((ofTimes) => median(ofTimes.map((run) => deliveredRate(run) / capacity))),
      ),
      [FIGURES.p99]: Math.max(...all.map(({ latency }) => latency.p99Ms)),
    };
    // Without a refusal nothing was saturated: then the search was disturbed, and there is no figure.
    const isSaturated = metrics === undefined || all.every((run) => isHonest(run) && run.throttled > 0);
    return {
      rows: [...rows, ...(stepped?.rows ?? [])],
      figures: { ...(isSaturated && figures), ...(stepped?.isValid === true && stepped.figures) },
      runs: [...runs, ...all, ...(stepped?.runs ?? [])],
    };
  },
};
