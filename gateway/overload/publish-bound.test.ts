import { describe, expect, it } from 'vitest';
import { createPublishBound, type PublishBound, type PublishSource } from './publish-bound.ts';

interface Asked {
  /** As a share of the threshold. */
  readonly lag?: number;
  readonly source?: PublishSource;
  /** Whether a rate refused more. */
  readonly isLimited?: boolean;
}

const SAMPLE_MS = 100;
const LONGEST_MS = 100;

/** A node that completes so many publications per ms in order, and is asked for as many as `ask` says in each ms. */
const createNode = (bound: PublishBound, perMs: number, brokerMs = 1) => {
  const waiting: number[] = [];
  let nowMs = 0;
  let capacity = perMs;
  let credit = 0;
  const durations: number[] = [];
  let done = 0;
  let refusals = 0;
  const run = (samples: number, ask: number, { lag = 0.09, source = 'http', isLimited = false }: Asked = {}): void => {
    done = 0;
    refusals = 0;
    durations.length = 0;
    for (let sample = 0; sample < samples; sample++) {
      for (let ms = 0; ms < SAMPLE_MS; ms++) {
        nowMs++;
        for (let asked = 0; asked < ask; asked++) {
          if (!bound.admits(source)) refusals++;
          else {
            bound.handleTaken(source);
            waiting.push(nowMs);
          }
        }
        for (credit += capacity; credit >= 1 && (waiting[0] ?? Infinity) <= nowMs - brokerMs; credit--) {
          const durationMs = nowMs - waiting.shift()!;
          bound.handleOver(source, durationMs);
          durations.push(durationMs);
          done++;
        }
        credit = Math.min(credit, capacity);
      }
      bound.sample({ elapsedMs: SAMPLE_MS, busy: ask >= capacity ? 1 : ask / capacity, lag, isLimited });
    }
  };
  return {
    run,
    slowDown: (perMs: number) => (capacity = perMs),
    perMs: (samples: number) => done / (samples * SAMPLE_MS),
    longestMs: () => Math.max(...durations),
    refusals: () => refusals,
    waiting: () => waiting.length,
  };
};

const setUp = (perMs: number, brokerMs?: number) => {
  const bound = createPublishBound(LONGEST_MS);
  return { bound, node: createNode(bound, perMs, brokerMs) };
};

describe('the bound of publications under way', () => {
  it('is none while they take no longer than they may, however many come in one burst', () => {
    const { bound, node } = setUp(10);
    node.run(20, 5);
    for (let burst = 0; burst < 100_000; burst++) expect(bound.admits('http')).toBe(true);
    expect(bound.isBounded).toBe(false);
  });

  it('keeps a node that is asked for twice what it can do at what it can do, and none waits long', () => {
    const { node } = setUp(10);
    node.run(10, 20);
    node.run(50, 20);
    expect(node.perMs(50)).toBeGreaterThan(9.9);
    expect(node.longestMs()).toBeLessThan(1.3 * LONGEST_MS);
    expect(node.refusals()).toBeGreaterThan(0.9 * 10 * 50 * SAMPLE_MS);
  });

  it('follows a node that gets slower, and one that gets faster', () => {
    const { node } = setUp(10);
    node.run(20, 30);
    node.slowDown(4);
    node.run(20, 30);
    node.run(20, 30);
    expect(node.perMs(20)).toBeGreaterThan(3.9);
    expect(node.longestMs()).toBeLessThan(1.3 * LONGEST_MS);
    node.slowDown(12);
    node.run(20, 30);
    node.run(20, 30);
    expect(node.perMs(20)).toBeGreaterThan(11.9);
  });

  it('lets what waits grow shorter as long as the loop is late', () => {
    const { node } = setUp(100);
    node.run(20, 200);
    node.run(30, 200, { lag: 0.2 });
    node.run(10, 200, { lag: 0.1 });
    expect(node.longestMs()).toBeLessThan(LONGEST_MS / 4);
    expect(node.perMs(10)).toBeGreaterThan(99);
  });

  it('does not begin earlier because a loop that keeps up is a little late', () => {
    const { bound, node } = setUp(10);
    node.run(30, 9.5, { lag: 0.4 });
    // Half a sample's worth comes at once, and takes half of what it may.
    for (let burst = 0; burst < 400; burst++) bound.handleTaken('http');
    node.run(1, 9.5, { lag: 0.4 });
    for (let burst = 0; burst < 400; burst++) bound.handleOver('http', LONGEST_MS / 2);
    node.run(1, 9.5, { lag: 0.4 });
    expect(bound.isBounded).toBe(false);
  });

  it('takes a broker that is far away for what it is', () => {
    const { bound, node } = setUp(10, 150);
    node.run(30, 5);
    node.run(30, 9.5);
    expect(node.refusals()).toBe(0);
    expect(bound.isBounded).toBe(false);
  });

  it('ends when nobody was refused for a second', () => {
    const { bound, node } = setUp(10);
    node.run(20, 20);
    expect(bound.isBounded).toBe(true);
    node.run(20, 1);
    expect(bound.isBounded).toBe(false);
    expect(node.waiting()).toBeLessThan(10);
  });

  it('stays while a rate refuses some: when that becomes too high, no more wait than under a bound', () => {
    const { bound, node } = setUp(10);
    node.run(20, 20);
    node.run(2, 0, { isLimited: true });
    node.run(50, 9, { isLimited: true });
    expect(node.refusals()).toBe(0);
    expect(bound.isBounded).toBe(true);
    node.run(10, 20, { isLimited: true });
    expect(node.longestMs()).toBeLessThan(1.3 * LONGEST_MS);
    node.run(20, 1);
    expect(bound.isBounded).toBe(false);
  });

  it('falls to what the node completes in that time while a rate keeps it just full, and rises when that is too few', () => {
    const { bound, node } = setUp(100);
    node.run(20, 200);
    node.run(3, 0, { isLimited: true });
    node.slowDown(10);
    node.run(3, 9, { isLimited: true });
    let more = 0;
    for (; bound.admits('http'); more++) bound.handleTaken('http');
    expect(more).toBeLessThan(2 * 10 * LONGEST_MS);
    for (; more > 0; more--) bound.handleOver('http', undefined);
    node.slowDown(100);
    node.run(40, 200, { isLimited: true });
    node.run(10, 200, { isLimited: true });
    expect(node.perMs(10)).toBeGreaterThan(99);
  });

  it('refuses clients before servers, and says who was', () => {
    const { bound, node } = setUp(10);
    node.run(20, 20, { source: 'client' });
    expect(bound.refusing('client')).toBe(true);
    expect(bound.refusing('http')).toBe(false);
    let servers = 0;
    while (bound.admits('http')) {
      bound.handleTaken('http');
      servers++;
    }
    expect(servers).toBeGreaterThan(256);
    expect(bound.admits('client')).toBe(false);
  });

  it('leaves clients a part however much servers publish', () => {
    const { bound, node } = setUp(10);
    node.run(20, 20);
    node.run(3, 0);
    while (bound.admits('http')) bound.handleTaken('http');
    let clients = 0;
    for (; bound.admits('client'); clients++) bound.handleTaken('client');
    expect(clients).toBeGreaterThan(10);
    expect(clients).toBeLessThan(100);
  });

  it('does not hold a node down for a broker that became slow while the loop is busy', () => {
    const bound = createPublishBound(LONGEST_MS);
    let waiting: number[] = [];
    let taken = 0;
    for (let sample = 0; sample < 200; sample++) {
      if (sample === 100) taken = 0;
      // It takes 400 ms whatever is under way, and 1 000 are asked for in each sample.
      const over = waiting.filter((since) => since <= sample - 4);
      waiting = waiting.filter((since) => since > sample - 4);
      for (const since of over) bound.handleOver('http', (sample - since) * SAMPLE_MS);
      for (let asked = 0; asked < 1_000 && bound.admits('http'); asked++, taken++) {
        bound.handleTaken('http');
        waiting.push(sample);
      }
      bound.sample({ elapsedMs: SAMPLE_MS, busy: 0.9, lag: 0.05, isLimited: false });
    }
    expect(taken / 100).toBeGreaterThan(900);
  });

  it('ends also when those under way fail, or nobody publishes any more', () => {
    const { bound, node } = setUp(10);
    node.run(20, 20);
    for (let sample = 0; sample < 12; sample++)
      bound.sample({ elapsedMs: SAMPLE_MS, busy: 0, lag: 0, isLimited: false });
    expect(bound.isBounded).toBe(false);
  });

  it('counts one that failed as over', () => {
    const { bound, node } = setUp(10);
    node.run(20, 20);
    node.run(3, 0);
    while (bound.admits('http')) bound.handleTaken('http');
    for (let failed = 0; failed < 10; failed++) bound.handleOver('http', undefined);
    let more = 0;
    for (; bound.admits('http'); more++) bound.handleTaken('http');
    expect(more).toBe(10);
  });

  it('is never one when it is turned off', () => {
    const bound = createPublishBound(0);
    createNode(bound, 10).run(20, 20);
    expect(bound.isBounded).toBe(false);
  });
});
