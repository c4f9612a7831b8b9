import { beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../observability/logger.ts';
import { createMetricsRegistry, type MetricsRegistry } from '../observability/registry.ts';
import { RUNGS } from './ladder.ts';
import { createOverload, type Overload } from './overload.ts';
import { SAMPLE_MS } from './signals.ts';

const RELEASE_MS = 1000;
let nowMs: number;
let readings: { lag: number; cpu: number; memory: number; buffered: number };
let idle: number;
let metrics: MetricsRegistry;
let overload: Overload;
let endTurn: () => void;

beforeEach(() => {
  nowMs = 0;
  endTurn = () => undefined;
  idle = 0;
  readings = { lag: 0, cpu: 0, memory: 0, buffered: 0 };
  metrics = createMetricsRegistry();
  overload = createOverload({
    clock: { nowMs: () => nowMs, monotonicMs: () => nowMs },
    metrics,
    logger: createLogger({ level: 'silent', format: 'json', node: 'n' }),
    random: () => 0.5,
    thresholds: { lag: 100, cpu: 0.97, memory: 1000, buffered: 1000, broker: 500 },
    stepMs: 2 * SAMPLE_MS,
    releaseMs: RELEASE_MS,
    publishWaitMs: 100,
    nextTurn: (work) => (endTurn = work),
    read: () => readings,
    moveIdle: () => idle,
  });
});

/** Lets so many samples pass; `each` runs before every one. */
const pass = (samples: number, each: () => void = () => undefined): void => {
  for (let sample = 0; sample < samples; sample++) {
    each();
    endTurn();
    nowMs += SAMPLE_MS;
    overload.tick();
  }
};
const climbTo = (level: number): void => {
  readings = { ...readings, memory: 1000 };
  while (overload.rung() < level) pass(1);
  // Between calm and pressing: stays where it is.
  readings = { ...readings, memory: 900 };
};
const newcomer = { anonymous: false, resumes: false };
const anonymous = { anonymous: true, resumes: false };
const returning = { anonymous: true, resumes: true };

describe('who may come', () => {
  it.each([
    [2, anonymous, undefined],
    [3, anonymous, 1500],
    [5, newcomer, undefined],
    [6, newcomer, 1500],
    [6, anonymous, 1500],
    [8, returning, undefined],
  ])('level %i, %o: delay %s', (level, arrival, expected) => {
    climbTo(level);
    expect(overload.refuseConnect(arrival)).toBe(expected);
  });
});

describe('who may publish', () => {
  const publishes = (source: 'http' | 'client', count: number): number => {
    let taken = 0;
    for (let attempt = 0; attempt < count; attempt++) {
      if (overload.refusePublish(source) !== undefined) continue;
      overload.handlePublishing(source);
      taken++;
    }
    return taken;
  };

  it('everybody up to level 6, clients less from 7 on, servers less at 8', () => {
    climbTo(6);
    pass(20, () => expect([publishes('http', 100), publishes('client', 100)]).toEqual([100, 100]));
    climbTo(7);
    pass(1, () => expect(publishes('http', 100)).toBe(100));
    expect(publishes('client', 10_000)).toBeLessThan(200);
    expect(publishes('http', 10_000)).toBe(10_000);
    climbTo(8);
    pass(1);
    expect(publishes('http', 100_000)).toBeLessThan(10_000);
  });

  it('while a signal presses, fewer and fewer, but never nobody', () => {
    let taken = 0;
    pass(20, () => publishes('http', 100));
    readings = { ...readings, lag: 200 };
    pass(200, () => (taken = publishes('http', 100)));
    expect(overload.rung()).toBe(8);
    expect(taken).toBeLessThanOrEqual(2);
    let later = 0;
    pass(20, () => (later += publishes('http', 100)));
    expect(later).toBeGreaterThanOrEqual(10);
  });

  it('settles where the node is full and not late, and stays there', () => {
    // A node that can publish 50 per sample, asked for 150 in each.
    const takens: number[] = [];
    const levels: number[] = [];
    let taken = 0;
    pass(3000, () => {
      taken = publishes('http', 150);
      takens.push(taken);
      readings = { ...readings, lag: 40, cpu: Math.min(1, taken / 50) };
      levels.push(overload.rung());
    });
    const settled = takens.slice(1000);
    const mean = settled.reduce((sum, count) => sum + count, 0) / settled.length;
    expect(mean).toBeGreaterThan(0.9 * 50 * 0.97);
    expect(mean).toBeLessThanOrEqual(50);
    expect(new Set(levels.slice(1000))).toEqual(new Set([8]));
  });

  it('refuses what would wait too long at once, and climbs while it does though the loop is not late', () => {
    readings = { ...readings, cpu: 1, lag: 2 };
    let underWay = 0;
    const exchange = (): void => {
      underWay += publishes('http', 1_000);
      for (let count = 0; count < 500 && underWay > 0; count++, underWay--) overload.handlePublished('http', 200);
    };
    pass(2, exchange);
    expect(overload.rung()).toBe(0);
    underWay += publishes('http', 1_000);
    expect(underWay).toBeLessThan(1_000);
    expect(overload.refusePublish('http')).toBe(1500);
    const reasons = new Set<string>();
    pass(60, () => {
      exchange();
      for (const reason of overload.state().reasons) reasons.add(reason);
    });
    expect(overload.rung()).toBe(8);
    expect([...reasons]).toEqual(['cpu']);
  });

  it('keeps little under way while the rate of a rung feels its way up, however long that takes', () => {
    readings = { ...readings, cpu: 1, lag: 2 };
    let underWay = 0;
    let perSample = 500;
    const exchange = (): void => {
      underWay += publishes('http', 1_000);
      const waitedMs = Math.max(2, (SAMPLE_MS * underWay) / perSample);
      for (let count = 0; count < perSample && underWay > 0; count++, underWay--)
        overload.handlePublished('http', waitedMs);
    };
    pass(60, exchange);
    expect(overload.rung()).toBe(8);
    perSample = 2_000;
    pass(15, exchange);
    expect(underWay).toBe(0);
    perSample = 50;
    pass(3, exchange);
    expect(underWay).toBeGreaterThan(100);
    expect(underWay).toBeLessThan(300);
  });

  it('refuses servers the rest of a turn that has taken in theirs for half of what they may take, and never for what clients sent', () => {
    readings = { ...readings, cpu: 1, lag: 2 };
    expect(publishes('client', 10_000) + publishes('http', 255)).toBe(10_255);
    nowMs += 51;
    expect(publishes('http', 1)).toBe(1);
    expect(publishes('http', 10_000)).toBe(0);
    expect(overload.refusePublish('http')).toBe(1500);
    expect(overload.refusePublish('client')).toBeUndefined();
    endTurn();
    expect(overload.refusePublish('http')).toBeUndefined();
    // Whoever is refused for it shows that the node is full.
    pass(60, () => {
      publishes('http', 10_000);
      nowMs += 51;
      publishes('http', 1);
    });
    expect(overload.rung()).toBe(8);
  });

  it('does not shed publishes of servers for a flood by clients', () => {
    // A node that completes 200 per sample, asked for 1 000 by clients and for 20 by servers.
    let waiting = 0;
    let refusedServers = 0;
    const levels: number[] = [];
    pass(600, () => {
      const servers = publishes('http', 20);
      refusedServers += 20 - servers;
      waiting += servers;
      const clients = publishes('client', 1_000);
      waiting += clients;
      readings = { ...readings, lag: 2, cpu: Math.min(1, waiting / 200) };
      const done = Math.min(200, waiting);
      const waitedMs = (SAMPLE_MS * waiting) / 200;
      for (let count = 0; count < done; count++)
        overload.handlePublished(count < servers ? 'http' : 'client', waitedMs);
      waiting -= done;
      levels.push(overload.rung());
    });
    expect(Math.max(...levels)).toBe(7);
    expect(refusedServers).toBe(0);
  });

  it('lets everybody in again, in reverse order, when fewer come', () => {
    pass(500, () => {
      readings = { ...readings, lag: 40, cpu: Math.min(1, publishes('http', 150) / 50) };
    });
    expect(overload.rung()).toBe(8);
    const levels: number[] = [];
    let refused = 0;
    pass(600, () => {
      const taken = publishes('http', 20);
      refused += 20 - taken;
      readings = { ...readings, cpu: taken / 50 };
      levels.push(overload.rung());
    });
    expect(overload.rung()).toBe(0);
    expect(levels).toEqual(levels.toSorted((a, b) => b - a));
    expect(refused).toBe(0);
  });
});

describe('what it tells', () => {
  it('a weight that falls with the signals and is least when newcomers are refused', () => {
    expect(overload.weight()).toBe(100);
    const weights: number[] = [];
    for (const memory of [500, 600, 750, 900, 1000]) {
      readings = { ...readings, memory };
      overload.tick();
      weights.push(overload.weight());
    }
    expect(weights).toEqual([100, 80, 51, 21, 1]);
    climbTo(6);
    expect(overload.weight()).toBe(1);
  });

  it('level and reasons', () => {
    climbTo(4);
    expect(overload.state()).toEqual({ level: 4, reasons: ['memory'] });
    expect(RUNGS.filter((rung) => overload.isEngaged(rung))).toEqual(RUNGS.slice(0, 4));
  });

  it('metrics per rung and reason, and what was refused', async () => {
    climbTo(6);
    overload.refuseConnect(newcomer);
    idle = 3;
    pass(1);
    const text = await metrics.exposition();
    expect(text).toContain('weir_overload_level 6');
    expect(text).toContain('weir_overload_rung{rung="refuse_new",reason="memory"} 1');
    expect(text).toContain('weir_overload_rung{rung="refuse_new",reason="lag"} 0');
    expect(text).toContain('weir_overload_rung{rung="refuse_client_publishes",reason="memory"} 0');
    expect(text).toContain('weir_overload_engaged_total{rung="refuse_new",reason="memory"} 1');
    expect(text).toContain('weir_overload_signal_ratio{signal="memory"} 0.9');
    expect(text).toContain('weir_overload_refusals_total{rung="refuse_new"} 1');
    expect(text).toMatch(/weir_overload_refusals_total\{rung="move_idle"\} [1-9]/);
  });

  it('when each rung came and went, so that the order shows however rarely somebody looks', async () => {
    climbTo(8);
    readings = { ...readings, memory: 0 };
    pass(500);
    expect(overload.rung()).toBe(0);
    const text = await metrics.exposition();
    const at = (rung: string, change: string): number =>
      Number(new RegExp(`changed_timestamp_seconds\\{rung="${rung}",change="${change}"\\} (\\S+)`).exec(text)?.[1]);
    const engaged = RUNGS.map((rung) => at(rung, 'engaged'));
    const released = RUNGS.map((rung) => at(rung, 'released'));
    expect(engaged).toEqual(engaged.toSorted((a, b) => a - b));
    expect(released).toEqual(released.toSorted((a, b) => b - a));
    expect(new Set([...engaged, ...released]).size).toBe(2 * RUNGS.length);
    expect(released.at(-1)).toBeGreaterThan(engaged.at(-1)!);
    for (const rung of RUNGS) expect(text).toContain(`weir_overload_released_total{rung="${rung}"} 1`);
  });

  it('the broker as a signal: the mean of what it took, and nothing while nobody publishes', () => {
    pass(50, () => [400, 1000].forEach((ms) => overload.handlePublished('http', ms)));
    expect(overload.rung()).toBe(8);
    expect(overload.state().reasons).toEqual(['broker']);
    pass(1000);
    expect(overload.rung()).toBe(0);
  });

  it('a busy loop is no overload while it is not late, and is when it is', () => {
    readings = { ...readings, cpu: 1, lag: 4 };
    pass(200);
    expect(overload.state()).toEqual({ level: 0, reasons: [] });
    expect(overload.weight()).toBe(100);
    readings = { ...readings, lag: 40 };
    pass(200);
    expect(overload.state()).toEqual({ level: 8, reasons: ['cpu'] });
  });

  it('a signal whose threshold is 0 does not count', () => {
    const off = createOverload({
      clock: { nowMs: () => nowMs, monotonicMs: () => nowMs },
      metrics,
      logger: createLogger({ level: 'silent', format: 'json', node: 'n' }),
      random: Math.random,
      thresholds: { lag: 0, cpu: 0, memory: 0, buffered: 0, broker: 0 },
      stepMs: 0,
      releaseMs: RELEASE_MS,
      publishWaitMs: 100,
      nextTurn: () => undefined,
      read: () => ({ lag: 1e9, cpu: 1, memory: 1e12, buffered: 1e12 }),
      moveIdle: () => 0,
    });
    for (let sample = 0; sample < 100; sample++) {
      nowMs += SAMPLE_MS;
      off.tick();
    }
    expect(off.rung()).toBe(0);
  });
});
