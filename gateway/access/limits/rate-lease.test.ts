import { describe, expect, it } from 'vitest';
import type { BudgetShare } from '../../../broker/limits.ts';
import { createLimitTable } from '../../../broker/memory/limit-table.ts';
import type { Rate } from './rate.ts';
import { createRateLease, type RateLease } from './rate-lease.ts';

/** Settled promises run; no time passes. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const openNodes = (count: number, rate: Rate) => {
  let nowMs = 0;
  let isAway = false;
  let calls = 0;
  let timesAlone = 0;
  const table = createLimitTable({ nowMs: () => nowMs });
  const nodes = Array.from({ length: count }, () =>
    createRateLease({
      rate,
      spend: (points, budget) => {
        calls++;
        return isAway ? Promise.reject(new Error('away')) : Promise.resolve(table.spend('k', points, budget));
      },
      nowMs: () => nowMs,
      onAlone: () => timesAlone++,
    }),
  );
  return {
    nodes,
    advance: (ms: number) => void (nowMs += ms),
    setAway: (away: boolean) => void (isAway = away),
    calls: () => calls,
    timesAlone: () => timesAlone,
  };
};
const takeMany = async (lease: RateLease, count: number): Promise<number> => {
  const delays = await Promise.all(Array.from({ length: count }, async () => lease.take()));
  return delays.filter((delayMs) => delayMs === 0).length;
};

describe('a rate over all nodes', () => {
  it.each([
    { count: 100, perMs: 10_000 },
    { count: 500, perMs: 1000 },
    { count: 7, perMs: 3000 },
  ])(
    'of $count per $perMs ms is sustained by three busy nodes over 60 s within 2 %, and never passed',
    async (rate) => {
      const { nodes, advance } = openNodes(3, rate);
      let taken = 0;
      let inWindow = 0;
      for (let atMs = 0; atMs < 60_000; atMs += 10) {
        for (const node of nodes) inWindow += await takeMany(node, 3);
        advance(10);
        if ((atMs + 10) % rate.perMs !== 0) continue;
        expect(inWindow).toBeLessThanOrEqual(rate.count);
        taken += inWindow;
        inWindow = 0;
      }
      expect(Math.abs(taken / (rate.count * (60_000 / rate.perMs)) - 1)).toBeLessThan(0.02);
    },
  );

  it('is spent from a share: a hundred publishes ask the broker a few times, and most of them not at all', async () => {
    const { nodes, calls } = openNodes(1, { count: 1000, perMs: 1000 });
    const [node] = nodes;
    expect(await takeMany(node!, 1)).toBe(1);
    let waited = 0;
    for (let n = 0; n < 100; n++) {
      if (node!.take() !== 0) waited++;
      await settle();
    }
    expect(waited).toBe(0);
    expect(calls()).toBeLessThanOrEqual(4);
  });

  it('answers those who wait for a share in their order', async () => {
    let answer!: (share: BudgetShare) => void;
    const spend = (): Promise<BudgetShare> => new Promise((resolve) => (answer = resolve));
    const lease = createRateLease({ rate: { count: 2, perMs: 1000 }, spend, nowMs: () => 0, onAlone: () => undefined });
    const order: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      void Promise.resolve(lease.take()).then((delayMs) => order.push(`${name} ${delayMs === 0}`));
    }
    answer({ granted: 1, endsInMs: 1000 });
    await settle();
    expect(order).toEqual(['a true']);
    answer({ granted: 1, endsInMs: 1000 });
    await settle();
    expect(order).toEqual(['a true', 'b true', 'c false']);
  });

  it('tells each one that is refused a later moment, from the end of the window on', async () => {
    const { nodes } = openNodes(1, { count: 10, perMs: 1000 });
    await takeMany(nodes[0]!, 10);
    const delays = await Promise.all(Array.from({ length: 5 }, async () => nodes[0]!.take()));
    expect(delays).toEqual([1000, 1100, 1200, 1300, 1400]);
  });

  it('is held by each node alone while the broker is away, and by all together afterwards', async () => {
    const rate = { count: 20, perMs: 1000 };
    const { nodes, advance, setAway, timesAlone } = openNodes(3, rate);
    setAway(true);
    for (const node of nodes) expect(await takeMany(node, 50)).toBe(20);
    expect(timesAlone()).toBe(3);
    setAway(false);
    advance(1001);
    let taken = 0;
    for (const node of nodes) taken += await takeMany(node, 50);
    expect(taken).toBe(20);
  });

  it('is idle again when its window is over', async () => {
    const { nodes, advance } = openNodes(1, { count: 10, perMs: 1000 });
    expect(nodes[0]!.isIdle()).toBe(true);
    await takeMany(nodes[0]!, 3);
    expect(nodes[0]!.isIdle()).toBe(false);
    advance(1000);
    expect(nodes[0]!.isIdle()).toBe(true);
  });
});
