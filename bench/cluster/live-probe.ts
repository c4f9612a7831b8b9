// A process of its own that measures live latency on a quiet channel, so that the clients of a contest cannot delay its clock.
import { setTimeout as pause } from 'node:timers/promises';
import { yieldHelpersToLoop } from '../../gateway/helper-threads.ts';
import { startCountingClient } from './counting-client.ts';
import { publish } from './contest.ts';

/** Sent by the parent as the first message; each further message asks for a report and begins a new period. */
export interface ProbeOrder {
  readonly url: string;
  readonly wsUrl: string;
  readonly apiKey: string;
}

export interface ProbeReport {
  /** Of each delivery of the period. */
  readonly latenciesMs: readonly number[];
  /** By how much each publication left later than intended: what this process itself waited. */
  readonly lateMs: readonly number[];
}

const CHANNEL = 'live-probe';
const SUBSCRIBERS = 50;
const EVERY_MS = 20;

let latencies: number[] = [];
let late: number[] = [];

const begin = ({ url, wsUrl, apiKey }: ProbeOrder): void => {
  // It shares a core with the load: what its own collector and compiler take of that would count as latency of the node.
  yieldHelpersToLoop();
  const intended = new Map<number, number>();
  for (let index = 0; index < SUBSCRIBERS; index += 1) {
    startCountingClient({
      channel: CHANNEL,
      url: () => wsUrl,
      away: () => pause(EVERY_MS),
      onMessage: (data) => {
        const at = intended.get((data as { n: number }).n);
        if (at !== undefined) latencies.push(performance.now() - at);
      },
    });
  }
  const beganAt = performance.now();
  let n = 0;
  setInterval(() => {
    // By schedule: a timer that fires late counts as latency of neither more nor fewer publications.
    for (; beganAt + n * EVERY_MS <= performance.now(); n += 1) {
      intended.set(n, beganAt + n * EVERY_MS);
      late.push(performance.now() - beganAt - n * EVERY_MS);
      void publish([url], apiKey, CHANNEL, n).catch(() => undefined);
    }
  }, EVERY_MS / 4);
};

process.on('message', (order: ProbeOrder | 'report') => {
  if (order !== 'report') {
    begin(order);
    return;
  }
  const report: ProbeReport = { latenciesMs: latencies, lateMs: late };
  latencies = [];
  late = [];
  process.send?.(report);
});
process.on('disconnect', () => process.exit(0));
