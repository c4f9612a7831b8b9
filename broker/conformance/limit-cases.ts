// Conformance: budgets and held counts are one over all nodes, never exceeded, and free again after a node that died.
import { describe, expect, test, vi } from 'vitest';
import { BrokerUnavailableError } from '../broker.ts';
import type { HoldRequest } from '../limits.ts';
import { type ConformanceCluster, type ConformanceHarness, startNode, WAIT } from './harness.ts';

const LEASE_MS = 60_000;
const BUDGET = { points: 100, windowMs: 60_000 };

const threeNodes = async (cluster: ConformanceCluster) =>
  (await Promise.all(['a', 'b', 'c'].map((node) => startNode(cluster, node)))).map(({ broker }) => broker.limits);
const want = (key: string, wanted: number, limit = 10, used = 0): HoldRequest => ({ key, used, wanted, limit });
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

export const limitCases = (harness: ConformanceHarness): void => {
  describe('budgets', () => {
    test('of nodes that ask at the same time get shares that are the budget together, to the point', async () => {
      await using cluster = await harness.openCluster();
      const nodes = await threeNodes(cluster);
      const shares = await Promise.all(
        Array.from({ length: 60 }, (_, n) => nodes[n % 3]!.spend('user:ada', (n % 7) + 1, BUDGET)),
      );
      expect(sum(shares.map(({ granted }) => granted))).toBe(BUDGET.points);
      for (const { endsInMs } of shares) expect(endsInMs).toBeLessThanOrEqual(BUDGET.windowMs);
    });

    test('grant what is left of a request that is too large, then nothing, and other keys are not touched', async () => {
      await using cluster = await harness.openCluster();
      const [a, b] = await threeNodes(cluster);
      expect(await a!.spend('k', 70, BUDGET)).toMatchObject({ granted: 70 });
      expect(await b!.spend('k', 70, BUDGET)).toMatchObject({ granted: 30 });
      expect(await a!.spend('k', 1, BUDGET)).toMatchObject({ granted: 0 });
      expect(await b!.spend('other', 5, BUDGET)).toMatchObject({ granted: 5 });
    });

    test('begin anew when the window is over, and say when that is', async () => {
      await using cluster = await harness.openCluster();
      const [a, b] = await threeNodes(cluster);
      const short = { points: 3, windowMs: 1000 };
      const { endsInMs } = await a!.spend('k', 3, short);
      expect(endsInMs).toBeGreaterThan(0);
      expect(endsInMs).toBeLessThanOrEqual(1000);
      cluster.clock.advance(1000);
      await vi.waitFor(async () => expect(await b!.spend('k', 3, short)).toMatchObject({ granted: 3 }), WAIT);
    });
  });

  describe('held counts', () => {
    test('of nodes that ask at the same time are the limit together', async () => {
      await using cluster = await harness.openCluster();
      const nodes = await threeNodes(cluster);
      const shares = await Promise.all(nodes.map((node) => node.hold([want('ip:1', 6, 10)], LEASE_MS)));
      expect(sum(shares.flat())).toBe(10);
    });

    test('are set, not added: repeating is safe, and giving back makes room for others', async () => {
      await using cluster = await harness.openCluster();
      const [a, b] = await threeNodes(cluster);
      for (let n = 0; n < 2; n++) expect(await a!.hold([want('k', 10)], LEASE_MS)).toEqual([10]);
      expect(await b!.hold([want('k', 1)], LEASE_MS)).toEqual([0]);
      expect(await a!.hold([want('k', 7)], LEASE_MS)).toEqual([7]);
      expect(await b!.hold([want('k', 9)], LEASE_MS)).toEqual([3]);
      expect(await a!.hold([want('k', 0)], LEASE_MS)).toEqual([0]);
      expect(await b!.hold([want('k', 9)], LEASE_MS)).toEqual([9]);
    });

    test('never fall below what is in use, also when the limit is passed, and count all the same', async () => {
      await using cluster = await harness.openCluster();
      const [a, b, c] = await threeNodes(cluster);
      await a!.hold([want('k', 10)], LEASE_MS);
      expect(await b!.hold([want('k', 5, 10, 4)], LEASE_MS)).toEqual([4]);
      expect(await a!.hold([want('k', 8, 10, 5)], LEASE_MS)).toEqual([6]);
      expect(await c!.hold([want('k', 1)], LEASE_MS)).toEqual([0]);
    });

    test('of hundreds of keys are set in one call, each by its own limit', async () => {
      await using cluster = await harness.openCluster();
      const [a] = await threeNodes(cluster);
      const requests = Array.from({ length: 300 }, (_, n) => want(`user:${n}`, 5, n));
      expect(await a!.hold(requests, LEASE_MS)).toEqual(requests.map(({ limit }) => Math.min(5, limit)));
      expect(await a!.hold([], LEASE_MS)).toEqual([]);
    });

    test('of a node that renews no more are free when its lease is over, those renewed are not', async () => {
      await using cluster = await harness.openCluster();
      const [a, b, c] = await threeNodes(cluster);
      await a!.hold([want('k', 6)], 100);
      await b!.hold([want('k', 4)], 100);
      await b!.hold([want('k', 4)], LEASE_MS);
      cluster.clock.advance(101);
      await vi.waitFor(async () => expect(await c!.hold([want('k', 10)], LEASE_MS)).toEqual([6]), WAIT);
    });
  });

  test('limits of a broker that is closed or not started reject', async () => {
    await using cluster = await harness.openCluster();
    const { broker } = await startNode(cluster, 'a');
    await broker.close();
    for (const { limits } of [broker, cluster.createBroker('fresh')]) {
      await expect(limits.spend('k', 1, BUDGET)).rejects.toThrow(BrokerUnavailableError);
      await expect(limits.hold([want('k', 1)], LEASE_MS)).rejects.toThrow(BrokerUnavailableError);
    }
  });
};
