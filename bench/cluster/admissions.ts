// How fast nodes let clients in, as they count it themselves: when a client notices depends on what else its process has to do.
import { setTimeout as pause } from 'node:timers/promises';
import type { Cluster } from '../../loadbalancer/cluster/cluster.ts';
import { metricsOf, sumOf } from '../metrics.ts';

/** What a node had let in since its start, at some moment between a question and its answer (monotonic, ms). */
export interface Admitted {
  readonly askedMs: number;
  readonly answeredMs: number;
  readonly count: number;
}

const EVERY_MS = 100;
/** An answer that took longer says too little about when it was true: 2 % of a second at either end of one. */
const MAX_ANSWER_MS = 20;

/** Asks over and over, until the signal; a node that does not answer is left out. */
export const watchAdmissions = async (url: string, { apiKey }: Pick<Cluster, 'apiKey'>, ended: AbortSignal) => {
  const seen: Admitted[] = [];
  while (!ended.aborted) {
    const askedMs = performance.now();
    const metrics = await metricsOf(url, apiKey).catch(() => '');
    const answeredMs = performance.now();
    const count = sumOf(metrics, 'weir_admissions_total', 'outcome="admitted"');
    if (metrics !== '' && answeredMs - askedMs <= MAX_ANSWER_MS) seen.push({ askedMs, answeredMs, count });
    await pause(EVERY_MS);
  }
  return seen;
};

/** Clients per second, over the second in which most were let in, or the span between two answers that is a little more; never too low for it. NaN without two answers a second apart. */
export const fullestSecond = (seen: readonly Admitted[]): number => {
  const shortestMs = (from: Admitted, to: Admitted): number => to.askedMs - from.answeredMs;
  const rates = seen.flatMap((from, index) => {
    const to = seen.slice(index).find((later) => shortestMs(from, later) >= 1_000);
    return to === undefined ? [] : [((to.count - from.count) / shortestMs(from, to)) * 1_000];
  });
  return rates.length === 0 ? NaN : Math.max(...rates);
};
