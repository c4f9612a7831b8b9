// How busy the event loop is and how late it runs: signals for coalescing, health and metrics.
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';

export interface EventLoopMeter {
  /** Share of the last sample in which the loop was busy, 0 to 1. */
  readonly utilisation: number;
  /** Delay by quantile since the last call, s; starts a new window. */
  takeLag(): { readonly p50: number; readonly p99: number; readonly max: number };
  /** Median delay since the last `takeLag`, ms; starts no window. */
  readonly lagMs: number;
  /** Mean delay since the last call, ms; starts a new window of its own. */
  takeMeanLagMs(): number;
  close(): void;
}

/** Length of a utilisation sample, ms: short enough to follow a burst, long enough to hold several flushes. */
const SAMPLE_MS = 100;
/** Resolution of the delay histogram, ms. The timer itself fires that late, which is subtracted. */
const LAG_RESOLUTION_MS = 10;

const seconds = (histogram: IntervalHistogram, percentile: number): number =>
  Math.max(0, histogram.percentile(percentile) / 1e9 - LAG_RESOLUTION_MS / 1000);

export const createEventLoopMeter = (): EventLoopMeter => {
  const histogram = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  histogram.enable();
  const recent = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  recent.enable();
  let takenMs = performance.now();
  let previous = performance.eventLoopUtilization();
  let utilisation = 0;
  const timer = setInterval(() => {
    const current = performance.eventLoopUtilization();
    ({ utilization: utilisation } = performance.eventLoopUtilization(current, previous));
    previous = current;
  }, SAMPLE_MS);
  timer.unref();

  return {
    get utilisation() {
      return utilisation;
    },
    get lagMs() {
      return histogram.count === 0 ? 0 : seconds(histogram, 50) * 1000;
    },
    takeMeanLagMs() {
      const nowMs = performance.now();
      // No reading since the last call: the loop has not come round, and that is how late it is.
      const meanMs = recent.count === 0 ? nowMs - takenMs : recent.mean / 1e6;
      recent.reset();
      takenMs = nowMs;
      return Math.max(0, meanMs - LAG_RESOLUTION_MS);
    },
    takeLag() {
      if (histogram.count === 0) return { p50: 0, p99: 0, max: 0 };
      const lag = {
        p50: seconds(histogram, 50),
        p99: seconds(histogram, 99),
        max: Math.max(0, histogram.max / 1e9 - LAG_RESOLUTION_MS / 1000),
      };
      histogram.reset();
      return lag;
    },
    close() {
      clearInterval(timer);
      histogram.disable();
      recent.disable();
    },
  };
};
