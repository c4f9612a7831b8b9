import { expect, it } from 'vitest';
import { createEventLoopMeter } from './event-loop.ts';

it('a loop that has not come round since the last reading is as late as that is long ago', () => {
  const meter = createEventLoopMeter();
  meter.takeMeanLagMs();
  const startedMs = performance.now();
  while (performance.now() - startedMs < 200);
  // No reading of the delay can have been taken meanwhile: the loop is here.
  expect(meter.takeMeanLagMs()).toBeGreaterThanOrEqual(190);
  expect(meter.takeMeanLagMs()).toBeLessThan(190);
  meter.close();
});
