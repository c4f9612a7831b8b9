// Conformance: positions are unique, ordered, stable and idempotent.
import { describe, expect, test, vi } from 'vitest';
import { BOUNDS, WAIT, dataOf, range, requestFor, startNode, type ConformanceHarness } from './harness.ts';

export const numberingCases = (harness: ConformanceHarness): void => {
  describe('numbering', () => {
    test('a first publication is offset 1 and each further one is the next, in one epoch', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      const first = await broker.publish(requestFor('orders', 1));
      const second = await broker.publish(requestFor('orders', 2));
      expect(first).toEqual({ epoch: first.epoch, offset: 1, duplicate: false });
      expect(second).toEqual({ epoch: first.epoch, offset: 2, duplicate: false });
      expect(first.epoch).toMatch(/^\S+$/);
    });

    test('concurrent publishers on several nodes get every offset once, and calls of one node keep their order', async () => {
      await using cluster = await harness.openCluster();
      const nodes = await Promise.all(['a', 'b', 'c'].map((node) => startNode(cluster, node)));
      const results = await Promise.all(
        nodes.map(({ broker }) => Promise.all(range(1, 200).map((n) => broker.publish(requestFor('race', n))))),
      );
      const offsets = results.flat().map((result) => result.offset);
      expect([...offsets].sort((x, y) => x - y)).toEqual(range(1, 600));
      expect(new Set(results.flat().map((result) => result.epoch)).size).toBe(1);
      for (const own of results) {
        expect(own.map((result) => result.offset)).toEqual(own.map((result) => result.offset).sort((x, y) => x - y));
      }
    });

    test('channels are numbered apart, also when they share a call', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      const results = await Promise.all(range(0, 899).map((n) => broker.publish(requestFor(`many:${n % 300}`, n))));
      expect(results.map((result) => result.offset)).toEqual(range(0, 899).map((n) => Math.floor(n / 300) + 1));
    });

    test('a channel without history is numbered all the same', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await broker.subscribe('tick');
      const history = { size: 0, ttlMs: 0 };
      const first = await broker.publish(requestFor('tick', 1, { history }));
      const second = await broker.publish(requestFor('tick', 2, { history }));
      expect([first.offset, second.offset]).toEqual([1, 2]);
      await vi.waitFor(() => expect(events.offsets('tick')).toEqual([1, 2]), WAIT);
      const query = {
        channel: 'tick',
        start: { kind: 'earliest' },
        limit: 10,
        reverse: false,
        bounds: BOUNDS,
      } as const;
      expect(await broker.history.read(query)).toEqual({
        position: { epoch: first.epoch, offset: 2 },
        publications: [],
        more: false,
      });
    });

    test('turning history off and on again leaves no hole inside a page', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      await broker.publish(requestFor('switched', 1));
      await broker.publish(requestFor('switched', 2, { history: { size: 0, ttlMs: 0 } }));
      await broker.publish(requestFor('switched', 3));
      await broker.publish(requestFor('switched', 4));
      const page = await broker.history.read({
        channel: 'switched',
        start: { kind: 'earliest' },
        limit: 10,
        reverse: false,
        bounds: BOUNDS,
      });
      expect(page.publications.map((publication) => publication.offset)).toEqual([3, 4]);
    });
  });

  describe('idempotency', () => {
    test('a retry with the same message id returns the first position on any node and is delivered once', async () => {
      await using cluster = await harness.openCluster();
      const a = await startNode(cluster, 'a');
      const b = await startNode(cluster, 'b');
      await a.broker.subscribe('pay');
      const first = await a.broker.publish(requestFor('pay', 'x', { messageId: 'm-1' }));
      await a.broker.publish(requestFor('pay', 'y', { messageId: 'm-2' }));
      const retry = await b.broker.publish(requestFor('pay', 'x again', { messageId: 'm-1' }));
      expect(retry).toEqual({ ...first, duplicate: true });
      await a.broker.publish(requestFor('pay', 'z'));
      await vi.waitFor(() => expect(a.events.offsets('pay')).toEqual([1, 2, 3]), WAIT);
      expect(a.events.publications('pay').map(dataOf)).toEqual(['x', 'y', 'z']);
    });

    test('repeats within one tick are found, and the others around them keep consecutive offsets', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await broker.subscribe('mix');
      const ids = [undefined, 'p', 'p', undefined, 'q', 'p', 'q'];
      const results = await Promise.all(
        ids.map((messageId, n) => broker.publish(requestFor('mix', n, messageId === undefined ? {} : { messageId }))),
      );
      expect(results.map((result) => [result.offset, result.duplicate])).toEqual([
        [1, false],
        [2, false],
        [2, true],
        [3, false],
        [4, false],
        [2, true],
        [4, true],
      ]);
      await vi.waitFor(() => expect(events.publications('mix').map(dataOf)).toEqual([0, 1, 3, 4]), WAIT);
    });

    test('the same message id on another channel is another message', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      const results = await Promise.all(
        ['left', 'right'].map((channel) => broker.publish(requestFor(channel, 1, { messageId: 'same' }))),
      );
      expect(results.map((result) => [result.offset, result.duplicate])).toEqual([
        [1, false],
        [1, false],
      ]);
    });

    if (harness.windows !== 'injected clock') return;
    test('a message id is forgotten after five minutes', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      await broker.publish(requestFor('pay', 1, { messageId: 'm' }));
      cluster.clock.advance(5 * 60_000 - 1_000);
      expect((await broker.publish(requestFor('pay', 1, { messageId: 'm' }))).duplicate).toBe(true);
      cluster.clock.advance(2_000);
      expect(await broker.publish(requestFor('pay', 1, { messageId: 'm' }))).toMatchObject({
        offset: 2,
        duplicate: false,
      });
    });
  });
};
