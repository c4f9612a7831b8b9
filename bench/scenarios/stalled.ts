// Stalled readers: clients that read nothing for a minute beside readers that keep up; what those feel, what the node pays, and what
// the stalled ones get when they read again.
import type { LoadResult } from '../load-types.ts';
import {
  baseLoad,
  isComplete,
  loadColumns,
  type Measured,
  type Measuring,
  round,
  publications,
  type Scenario,
} from '../scenario.ts';

const MiB = 1024 * 1024;
const READERS = 1_000;
const STALLED = 300;
const RATE = 200;
const PAYLOAD_BYTES = 1_024;
const SECONDS = 60;
const WARM_UP_SECONDS = 10;
/** Longest time in which they may catch up. */
const READ_MS = 30_000;
const MAX_GROWTH_MIB = 64;

const runFor = ({ server, load }: Measuring, seconds: number, stalled: number): Promise<LoadResult> =>
  load({
    ...baseLoad(server, READERS),
    ...(stalled === 0 ? {} : { stalled: { connections: stalled, readMs: READ_MS } }),
    publish: { ...publications(server, RATE, RATE * seconds), payloadBytes: PAYLOAD_BYTES },
  });

const memoryOf = (run: LoadResult): { readonly open: number; readonly most: number } => ({
  open: (run.processes[0]?.rssOpenBytes ?? 0) / MiB,
  most: (run.processes[0]?.rssMaxBytes ?? 0) / MiB,
});

export const stalled: Scenario = {
  name: 'stalled',
  title: `Stalled readers: ${STALLED} clients that read nothing beside ${READERS} readers, ${RATE} msg/s × ${PAYLOAD_BYTES} B for ${SECONDS} s; then they read on`,
  servers: ['weir-redis'],
  figures: [
    { name: 'p99 of readers against none stalled', unit: '', better: 'lower', bar: { value: 1.3 } },
    { name: 'RSS growth of the node', unit: 'MiB', better: 'lower', bar: { value: MAX_GROWTH_MIB } },
    { name: 'stalled without every message or an exact gap', unit: 'clients', better: 'lower', bar: { value: 0 } },
    { name: 'stalled disconnected', unit: 'clients', better: 'lower', bar: { value: 0 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const { depth, say } = measuring;
    const seconds = depth === 'quick' ? SECONDS / 4 : SECONDS;
    // The heap grows to its working size, so that this growth is not taken for the stalled ones'.
    await runFor(measuring, WARM_UP_SECONDS, 0);
    const alone = await runFor(measuring, seconds, 0);
    say(`without stalled ones: p99 ${alone.latency.p99Ms.toFixed(1)} ms`);
    const beside = await runFor(measuring, seconds, STALLED);
    const read = beside.stalled;
    const ratio = beside.latency.p99Ms / alone.latency.p99Ms;
    say(`beside ${STALLED} stalled ones: p99 ${beside.latency.p99Ms.toFixed(1)} ms, ${round(ratio, 2)} times`);
    // What was published while they were stalled, for each of them: a receipt for a part of it counts as the part.
    const isExact = read.skipped + read.duplicates + read.unreadable === 0;
    const owed = STALLED * beside.positions;
    const rows = [
      { run: alone, stalledCount: 0 },
      { run: beside, stalledCount: STALLED },
    ].map(({ run, stalledCount }) => ({
      readers: READERS,
      stalled: stalledCount,
      ...loadColumns(run),
      'RSS open MiB': round(memoryOf(run).open, 1),
      'RSS max MiB': round(memoryOf(run).most, 1),
    }));
    return {
      rows: [
        ...rows,
        {
          stalled: 'read on',
          closed: read.closed,
          complete: read.complete,
          owed,
          messages: read.messages,
          'declared missing': read.declared,
          gaps: read.gaps,
          'newest gap behind the head': read.newestGap,
          skipped: read.skipped,
          duplicates: read.duplicates,
          unreadable: read.unreadable,
          'read ms': read.readMs,
        },
      ],
      figures: {
        ...(isComplete(alone, RATE * seconds) && isComplete(beside, RATE * seconds)
          ? { 'p99 of readers against none stalled': ratio }
          : {}),
        'RSS growth of the node': memoryOf(beside).most - memoryOf(beside).open,
        'stalled without every message or an exact gap':
          isExact && read.messages + read.declared === owed ? STALLED - read.complete : STALLED,
        'stalled disconnected': STALLED - read.opened + read.closed,
      },
      runs: [alone, beside],
    };
  },
};
