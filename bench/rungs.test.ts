import { describe, expect, it } from 'vitest';
import { createLogger } from '../gateway/observability/logger.ts';
import { createMetricsRegistry } from '../gateway/observability/registry.ts';
import { createOverload } from '../gateway/overload/overload.ts';
import { courseBetween, readLadder } from './rungs.ts';

/** A ladder whose memory signal the test sets. */
const setUp = () => {
  let nowMs = 1_000_000;
  let memory = 0;
  const metrics = createMetricsRegistry();
  const overload = createOverload({
    clock: { nowMs: () => nowMs, monotonicMs: () => nowMs },
    metrics,
    logger: createLogger({ level: 'silent', format: 'json', node: 'n' }),
    random: () => 0.5,
    thresholds: { lag: 0, cpu: 0, memory: 1, buffered: 0, broker: 0 },
    stepMs: 200,
    releaseMs: 1000,
    publishWaitMs: 100,
    nextTurn: () => undefined,
    read: () => ({ lag: 0, cpu: 0, memory, buffered: 0 }),
    moveIdle: () => 0,
  });
  return {
    read: async () => readLadder(await metrics.exposition()),
    during(pressure: number, ms: number): void {
      memory = pressure;
      for (let passed = 0; passed < ms; passed += 100) {
        nowMs += 100;
        overload.tick();
      }
    },
  };
};

describe('the course of the ladder', () => {
  it('is told by two looks: what came and went, in order and once', async () => {
    const { read, during } = setUp();
    const before = await read();
    during(1, 10_000);
    expect(courseBetween(before, await read())).toEqual({
      engaged: [1, 2, 3, 4, 5, 6, 7, 8],
      released: [],
      returns: 0,
      disorder: 0,
    });
    during(0, 60_000);
    const after = await read();
    expect(after.level).toBe(0);
    expect(courseBetween(before, after)).toEqual({
      engaged: [1, 2, 3, 4, 5, 6, 7, 8],
      released: [1, 2, 3, 4, 5, 6, 7, 8],
      returns: 0,
      disorder: 0,
    });
    expect(courseBetween(after, await read()).engaged).toEqual([]);
  });

  it('counts rungs that come back', async () => {
    const { read, during } = setUp();
    const before = await read();
    for (let swing = 0; swing < 3; swing++) {
      during(1, 300);
      during(0, 20_000);
    }
    const course = courseBetween(before, await read());
    expect(course).toMatchObject({ engaged: [1], released: [1], returns: 2 });
  });

  it('sees changes that did not come in order', () => {
    const rung = (engagedAt: number, releasedAt: number) => ({ engaged: 1, released: 1, engagedAt, releasedAt });
    const nothing = { engaged: 0, released: 0, engagedAt: 0, releasedAt: 0 };
    const before = { level: 0, rungs: [nothing, nothing] };
    expect(courseBetween(before, { level: 0, rungs: [rung(1, 4), rung(2, 3)] }).disorder).toBe(0);
    expect(courseBetween(before, { level: 0, rungs: [rung(2, 4), rung(1, 3)] }).disorder).toBe(1);
    expect(courseBetween(before, { level: 0, rungs: [rung(1, 3), rung(2, 4)] }).disorder).toBe(1);
  });
});
