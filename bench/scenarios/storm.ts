// Connect storm: more clients at once than a node lets in per second; who resumes comes first, who is refused comes back as told.
import type { LoadResult } from '../load-types.ts';
import { baseLoad, type Measured, noteOf, round, type Row, type Scenario } from '../scenario.ts';

const CLIENTS = 10_000;
const PER_SECOND = 2_000;
/** A third of them lost a connection. */
const RESUME_EVERY = 3;
const CONNECT = '{"id":1,"type":"connect"}';
const RESUME = '{"id":1,"type":"connect","resume":true}';
const BINS_PER_ROW = 10;
const ROW_SECONDS = 1;

/** Clients let in per second, by the second. */
const ratesOf = (run: LoadResult): number[] => {
  const bins = run.storm.perBin ?? [];
  const sums: number[] = [];
  for (let from = 0; from < bins.length; from += BINS_PER_ROW) {
    sums.push(bins.slice(from, from + BINS_PER_ROW).reduce((sum, count) => sum + count, 0));
  }
  return sums.map((sum) => sum / ROW_SECONDS);
};

export const storm: Scenario = {
  name: 'storm',
  title: `Connect storm: ${CLIENTS} clients at once, every third resuming, at a node that lets ${PER_SECOND} in per second`,
  servers: ['weir-redis'],
  env: { WEIR_ADMISSION_PER_SECOND: String(PER_SECOND), WEIR_ADMISSION_DEADLINE_MS: '2000' },
  figures: [
    { name: 'resumed at the first attempt', unit: '%', better: 'higher', bar: { value: 99.9 } },
    { name: 'fullest second / rate', unit: '', better: 'lower', bar: { value: 1.15 } },
    { name: 'emptiest second / rate', unit: '', better: 'higher', bar: { value: 0.85 } },
    { name: 'all in / predicted time', unit: '', better: 'lower', bar: { value: 1.15 } },
  ],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const connections = depth === 'quick' ? CLIENTS / 2 : CLIENTS;
    const run = await load({
      ...baseLoad(server, connections),
      opening: connections,
      frames: [CONNECT],
      storm: { resumeEvery: RESUME_EVERY, resumeFrames: [RESUME] },
      sampleEvery: 0,
      settleMs: 0,
    });
    const rates = ratesOf(run);
    const predictedMs = (connections / PER_SECOND) * 1_000;
    const { refusals, resuming, resumedAtOnce, lastMs, lastResumeMs } = run.storm;
    say(`${run.opened} of ${connections} in after ${round(lastMs)} ms, predicted ${predictedMs}; ${refusals} refusals`);
    // The last second is whatever is left.
    const full = rates.slice(0, -1);
    const rows = rates.map(
      (rate, index): Row => ({
        'from s': index * ROW_SECONDS,
        'let in/s': round(rate),
        note: index === 0 ? noteOf(run) : '',
      }),
    );
    const summary: Row = {
      'from s': 'all',
      'let in': run.opened,
      refusals,
      'last resume ms': round(lastResumeMs),
      'last ms': round(lastMs),
      'server CPU': round(run.processes[0]?.openCpu ?? 0, 2),
    };
    const isComplete = run.opened === connections && run.closed === 0;
    return {
      rows: [...rows, summary],
      figures: isComplete
        ? {
            'resumed at the first attempt': (resumedAtOnce / resuming) * 100,
            'fullest second / rate': Math.max(...rates) / PER_SECOND,
            'emptiest second / rate': Math.min(...full) / PER_SECOND,
            'all in / predicted time': lastMs / predictedMs,
          }
        : {},
      runs: [run],
    };
  },
};
