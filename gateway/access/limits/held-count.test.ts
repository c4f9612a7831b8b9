import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLimitTable } from '../../../broker/memory/limit-table.ts';
import { createHeldCount, type HeldCount } from './held-count.ts';

const LEASE_MS = 15_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const openNodes = (names: readonly string[], limit: number) => {
  let isAway = false;
  let timesAlone = 0;
  const table = createLimitTable({ nowMs: () => Date.now() });
  const nodes = names.map((name) =>
    createHeldCount({
      key: 'user:ada',
      limit,
      hold: (request) =>
        isAway ? Promise.reject(new Error('away')) : Promise.resolve(table.hold(name, [request], LEASE_MS)[0]!),
      onAlone: () => timesAlone++,
    }),
  );
  return { nodes, setAway: (away: boolean) => void (isAway = away), timesAlone: () => timesAlone };
};
/** How many of those who come at the same time get in; waits as long as it takes to be sure. */
const enterMany = async (count: HeldCount, times: number): Promise<number> => {
  const answers = Promise.all(Array.from({ length: times }, async () => count.enter()));
  await vi.advanceTimersByTimeAsync(2000);
  return (await answers).filter(Boolean).length;
};

describe('a count over all nodes', () => {
  it.each([1, 5, 30, 99])('of %i is exact over three nodes that fill at the same time', async (limit) => {
    const { nodes } = openNodes(['a', 'b', 'c'], limit);
    const entered = await Promise.all(nodes.map((node) => enterMany(node, limit)));
    expect(entered.reduce((sum, one) => sum + one, 0)).toBe(limit);
  });

  it('of a large limit is never passed, and a node leaves at most a hundredth of it unused', async () => {
    const { nodes } = openNodes(['a', 'b', 'c'], 1000);
    expect(await enterMany(nodes[0]!, 1)).toBe(1);
    expect(await enterMany(nodes[1]!, 1)).toBe(1);
    const third = await enterMany(nodes[2]!, 1000);
    expect(third).toBeLessThanOrEqual(998);
    expect(third).toBeGreaterThanOrEqual(978);
  });

  it('lets many in from one share without asking again', () => {
    const { nodes } = openNodes(['a'], 10_000);
    void nodes[0]!.enter();
    return vi.advanceTimersByTimeAsync(0).then(() => {
      for (let n = 0; n < 100; n++) expect(nodes[0]!.enter()).toBe(true);
    });
  });

  it('waits a moment before it refuses: one that moves arrives before the node it left has told', async () => {
    const { nodes } = openNodes(['a', 'b'], 1);
    expect(await enterMany(nodes[0]!, 1)).toBe(1);
    const arriving = nodes[1]!.enter();
    await vi.advanceTimersByTimeAsync(300);
    nodes[0]!.leave();
    await vi.advanceTimersByTimeAsync(300);
    expect(await arriving).toBe(true);
  });

  it('gives back what is not used any more', async () => {
    const { nodes } = openNodes(['a', 'b'], 10);
    await enterMany(nodes[0]!, 10);
    for (let n = 0; n < 10; n++) nodes[0]!.leave();
    await vi.advanceTimersByTimeAsync(0);
    expect(nodes[0]!.isIdle()).toBe(true);
    expect(await enterMany(nodes[1]!, 12)).toBe(10);
  });

  it('serves one that waits on the same node as soon as another leaves', async () => {
    const { nodes } = openNodes(['a'], 2);
    await enterMany(nodes[0]!, 2);
    const waiting = nodes[0]!.enter();
    await vi.advanceTimersByTimeAsync(100);
    nodes[0]!.leave();
    expect(await waiting).toBe(true);
  });

  it('of a killed node is free when its lease is over; a living one renews', async () => {
    const { nodes } = openNodes(['killed', 'b', 'c'], 10);
    await enterMany(nodes[0]!, 6);
    await enterMany(nodes[1]!, 4);
    const renewing = setInterval(() => nodes[1]!.renew(), LEASE_MS / 3);
    expect(await enterMany(nodes[2]!, 10)).toBe(0);
    await vi.advanceTimersByTimeAsync(LEASE_MS);
    expect(await enterMany(nodes[2]!, 10)).toBe(6);
    clearInterval(renewing);
  });

  it('is held by each node alone while the broker is away, and what was let in counts afterwards', async () => {
    const { nodes, setAway, timesAlone } = openNodes(['a', 'b'], 5);
    setAway(true);
    expect(await enterMany(nodes[0]!, 8)).toBe(5);
    expect(await enterMany(nodes[1]!, 2)).toBe(2);
    expect(timesAlone()).toBeGreaterThan(0);
    setAway(false);
    for (const node of nodes) node.renew();
    expect(await enterMany(nodes[1]!, 1)).toBe(0);
    for (let n = 0; n < 3; n++) nodes[0]!.leave();
    await vi.advanceTimersByTimeAsync(0);
    expect(await enterMany(nodes[1]!, 3)).toBe(1);
  });
});
