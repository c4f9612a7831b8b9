// Conformance: pages and positions of channel logs.
import { describe, expect, test } from 'vitest';
import type { HistoryQuery, HistoryStart } from '../history.ts';
import type { HistoryBounds } from '../publication.ts';
import { BOUNDS, range, requestFor, startNode, type ConformanceHarness, type TestNode } from './harness.ts';

interface Read {
  readonly start: HistoryStart;
  readonly limit?: number;
  readonly reverse?: boolean;
  readonly bounds?: HistoryBounds;
}

const readOffsets = async ({ broker }: TestNode, channel: string, read: Read): Promise<[number[], boolean]> => {
  const query: HistoryQuery = { channel, limit: 100, reverse: false, bounds: BOUNDS, ...read };
  const page = await broker.history.read(query);
  return [page.publications.map((publication) => publication.offset), page.more];
};

/** Ten publications, offsets 1 to 10, one second apart and the last one now. */
const withTen = async (node: TestNode, channel: string, nowMs: number): Promise<void> => {
  await Promise.all(
    range(1, 10).map((n) => node.broker.publish(requestFor(channel, n, { timeMs: nowMs - (10 - n) * 1_000 }))),
  );
};

export const historyCases = (harness: ConformanceHarness): void => {
  describe('history', () => {
    const cases: readonly [string, Read, number[], boolean][] = [
      ['everything from the earliest', { start: { kind: 'earliest' } }, range(1, 10), false],
      ['a first page', { start: { kind: 'earliest' }, limit: 4 }, range(1, 4), true],
      ['a page that ends exactly at the head', { start: { kind: 'earliest' }, limit: 10 }, range(1, 10), false],
      ['from the newest downwards', { start: { kind: 'earliest' }, reverse: true, limit: 3 }, [10, 9, 8], true],
      ['all downwards', { start: { kind: 'earliest' }, reverse: true }, range(1, 10).reverse(), false],
      [
        'all downwards, exactly',
        { start: { kind: 'earliest' }, reverse: true, limit: 10 },
        range(1, 10).reverse(),
        false,
      ],
      ['what follows an offset', { start: { kind: 'after', offset: 7 } }, [8, 9, 10], false],
      ['a page after an offset', { start: { kind: 'after', offset: 3 }, limit: 2 }, [4, 5], true],
      ['nothing after the head', { start: { kind: 'after', offset: 10 } }, [], false],
      ['nothing after an offset that is yet to come', { start: { kind: 'after', offset: 99 } }, [], false],
      ['all after zero', { start: { kind: 'after', offset: 0 } }, range(1, 10), false],
      ['what precedes an offset', { start: { kind: 'after', offset: 4 }, reverse: true }, [3, 2, 1], false],
      ['a page before an offset', { start: { kind: 'after', offset: 4 }, reverse: true, limit: 2 }, [3, 2], true],
      ['nothing before the first', { start: { kind: 'after', offset: 1 }, reverse: true }, [], false],
      [
        'the newest before an offset to come',
        { start: { kind: 'after', offset: 99 }, reverse: true, limit: 1 },
        [10],
        true,
      ],
      ['the last three', { start: { kind: 'last', count: 3 } }, [8, 9, 10], false],
      ['the last three downwards', { start: { kind: 'last', count: 3 }, reverse: true }, [10, 9, 8], false],
      ['a page of the last five', { start: { kind: 'last', count: 5 }, limit: 2 }, [6, 7], true],
      ['the last hundred of ten', { start: { kind: 'last', count: 100 } }, range(1, 10), false],
      ['the last none', { start: { kind: 'last', count: 0 } }, [], false],
      [
        'no more than the size',
        { start: { kind: 'earliest' }, bounds: { size: 4, ttlMs: 60_000 } },
        [7, 8, 9, 10],
        false,
      ],
      [
        'no more than the size downwards',
        { start: { kind: 'earliest' }, reverse: true, bounds: { size: 2, ttlMs: 60_000 } },
        [10, 9],
        false,
      ],
      ['nothing with size 0', { start: { kind: 'earliest' }, bounds: { size: 0, ttlMs: 60_000 } }, [], false],
      [
        'nothing older than the time to live',
        { start: { kind: 'earliest' }, bounds: { size: 100, ttlMs: 3_500 } },
        [7, 8, 9, 10],
        false,
      ],
      [
        'a page within the time to live',
        { start: { kind: 'after', offset: 2 }, limit: 2, bounds: { size: 100, ttlMs: 3_500 } },
        [7, 8],
        true,
      ],
      [
        'downwards until the time to live ends',
        { start: { kind: 'earliest' }, reverse: true, bounds: { size: 100, ttlMs: 3_500 } },
        [10, 9, 8, 7],
        false,
      ],
      [
        'downwards exactly to the time to live',
        { start: { kind: 'earliest' }, reverse: true, limit: 4, bounds: { size: 100, ttlMs: 3_500 } },
        [10, 9, 8, 7],
        false,
      ],
    ];
    test('pages follow start, direction, limit and bounds', async () => {
      await using cluster = await harness.openCluster();
      const node = await startNode(cluster, 'a');
      await withTen(node, 'log', cluster.clock.nowMs());
      for (const [name, read, offsets, more] of cases) {
        expect([name, ...(await readOffsets(node, 'log', read))]).toEqual([name, offsets, more]);
      }
    });

    test('a page carries the head of its moment', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      const results = await Promise.all(range(1, 3).map((n) => broker.publish(requestFor('log', n))));
      const query = {
        channel: 'log',
        start: { kind: 'after', offset: 1 },
        limit: 1,
        reverse: false,
        bounds: BOUNDS,
      } as const;
      const page = await broker.history.read(query);
      expect(page.position).toEqual({ epoch: results[0]!.epoch, offset: 3 });
      expect(
        page.publications[0]!.body.equals(requestFor('log', 2, { timeMs: page.publications[0]!.timeMs }).body),
      ).toBe(true);
    });

    test('publications age out as time passes, and the numbering stays', async () => {
      await using cluster = await harness.openCluster();
      const node = await startNode(cluster, 'a');
      const { epoch } = await node.broker.publish(requestFor('log', 1, { timeMs: cluster.clock.nowMs() }));
      cluster.clock.advance(59_000);
      expect(await readOffsets(node, 'log', { start: { kind: 'earliest' } })).toEqual([[1], false]);
      cluster.clock.advance(2_000);
      expect(await readOffsets(node, 'log', { start: { kind: 'earliest' } })).toEqual([[], false]);
      expect(await node.broker.history.positions(['log'])).toEqual([{ epoch, offset: 1 }]);
      expect(await node.broker.publish(requestFor('log', 2))).toEqual({ epoch, offset: 2, duplicate: false });
    });

    test('a log longer than its size keeps the newest', async () => {
      await using cluster = await harness.openCluster();
      const node = await startNode(cluster, 'a');
      const bounds = { size: 50, ttlMs: 60_000 };
      for (const round of range(0, 9)) {
        await Promise.all(
          range(1, 100).map((n) => node.broker.publish(requestFor('log', round * 100 + n, { history: bounds }))),
        );
      }
      expect(await readOffsets(node, 'log', { start: { kind: 'earliest' }, bounds })).toEqual([
        range(951, 1_000),
        false,
      ]);
      expect(await readOffsets(node, 'log', { start: { kind: 'after', offset: 10 }, bounds, limit: 5 })).toEqual([
        range(951, 955),
        true,
      ]);
    });

    test('pages joined give the whole log in either direction', async () => {
      await using cluster = await harness.openCluster();
      const node = await startNode(cluster, 'a');
      const bounds = { size: 1_000, ttlMs: 60_000 };
      await Promise.all(range(1, 700).map((n) => node.broker.publish(requestFor('log', n, { history: bounds }))));
      for (const reverse of [false, true]) {
        const joined: number[] = [];
        let more = true;
        while (more) {
          const offset = joined.at(-1) ?? (reverse ? 701 : 0);
          const [offsets, another] = await readOffsets(node, 'log', {
            start: { kind: 'after', offset },
            reverse,
            limit: 150,
            bounds,
          });
          joined.push(...offsets);
          more = another;
        }
        expect(joined).toEqual(reverse ? range(1, 700).reverse() : range(1, 700));
      }
    });

    test('a page of large publications may end early, never empty, and says that there is more', async () => {
      await using cluster = await harness.openCluster();
      const node = await startNode(cluster, 'a');
      const body = 'x'.repeat(900_000);
      for (const n of range(1, 12)) await node.broker.publish(requestFor('log', `${n}${body}`));
      const joined: number[] = [];
      let more = true;
      while (more) {
        const [offsets, another] = await readOffsets(node, 'log', {
          start: { kind: 'after', offset: joined.at(-1) ?? 0 },
        });
        expect(offsets.length).toBeGreaterThan(0);
        joined.push(...offsets);
        more = another;
      }
      expect(joined).toEqual(range(1, 12));
    });
  });

  describe('positions', () => {
    test('come in the order asked, and a channel never published to has an epoch that lasts', async () => {
      await using cluster = await harness.openCluster();
      const a = await startNode(cluster, 'a');
      const b = await startNode(cluster, 'b');
      const { epoch } = await a.broker.publish(requestFor('used', 1));
      const [fresh, used, again] = await a.broker.history.positions(['fresh', 'used', 'fresh']);
      expect(used).toEqual({ epoch, offset: 1 });
      expect(fresh!.offset).toBe(0);
      expect(again).toEqual(fresh);
      expect((await b.broker.publish(requestFor('fresh', 1))).epoch).toBe(fresh!.epoch);
      expect(await b.broker.history.positions(['fresh'])).toEqual([{ epoch: fresh!.epoch, offset: 1 }]);
    });

    test('a page of a channel never published to has a position too', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      const query = {
        channel: 'fresh',
        start: { kind: 'last', count: 5 },
        limit: 5,
        reverse: false,
        bounds: BOUNDS,
      } as const;
      const page = await broker.history.read(query);
      expect(page).toEqual({ position: { epoch: page.position.epoch, offset: 0 }, publications: [], more: false });
      expect((await broker.publish(requestFor('fresh', 1))).epoch).toBe(page.position.epoch);
    });

    test('thousands are answered at once, and none for none', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      const channels = range(1, 2_345).map((n) => `many:${n}`);
      await broker.publish(requestFor('many:2000', 1));
      const positions = await broker.history.positions(channels);
      expect(positions).toHaveLength(2_345);
      expect(positions[1_999]!.offset).toBe(1);
      expect(positions.filter((position) => position.offset === 0)).toHaveLength(2_344);
      expect(await broker.history.positions([])).toEqual([]);
    });
  });
};
