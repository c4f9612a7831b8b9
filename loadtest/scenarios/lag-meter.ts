// Measures how far a virtual user is behind its own clock, so that a slow generator is not taken for a slow cluster.
import { clearInterval, setInterval } from 'k6/timers';
import { generatorLag } from './metrics.ts';

const intervalMs = 250;

export interface LagMeter {
  /** Must be called, or the virtual user never ends. */
  stop(): void;
}

export function startLagMeter(): LagMeter {
  let dueAt = Date.now() + intervalMs;
  const timer = setInterval(() => {
    const now = Date.now();
    generatorLag.add(Math.max(0, now - dueAt));
    dueAt = now + intervalMs;
  }, intervalMs);
  return { stop: () => clearInterval(timer) };
}
