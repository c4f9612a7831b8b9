// Conformance: what is published reaches every subscribed node once, whole and in the order of the backplane.
import { describe, expect, test, vi } from 'vitest';
import type { Publication } from '../publication.ts';
import { WAIT, dataOf, range, requestFor, startNode, type ConformanceHarness } from './harness.ts';

const contentOf = ({ offset, timeMs, key, body }: Publication) => ({ offset, timeMs, key, body: body.toString() });

export const deliveryCases = (harness: ConformanceHarness): void => {
  describe('delivery', () => {
    test('every subscriber of every node sees the same order', async () => {
      await using cluster = await harness.openCluster();
      const nodes = await Promise.all(['a', 'b', 'c'].map((node) => startNode(cluster, node)));
      await Promise.all(nodes.map(({ broker }) => broker.subscribe('feed')));
      await Promise.all(
        nodes.flatMap(({ broker }, n) => range(1, 150).map((i) => broker.publish(requestFor('feed', `${n}-${i}`)))),
      );
      await vi.waitFor(() => {
        for (const { events } of nodes) expect(events.offsets('feed')).toEqual(range(1, 450));
      }, WAIT);
      const [first, ...others] = nodes.map(({ events }) => events.publications('feed').map(dataOf));
      for (const other of others) expect(other).toEqual(first);
    });

    test('a run has one epoch and contiguous offsets', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await broker.subscribe('feed');
      const results = await Promise.all(range(1, 50).map((n) => broker.publish(requestFor('feed', n))));
      await vi.waitFor(() => expect(events.offsets('feed')).toEqual(range(1, 50)), WAIT);
      // Publications of one tick travel together.
      expect(events.runs.length).toBeLessThan(10);
      for (const run of events.runs) {
        expect(run.epoch).toBe(results[0]!.epoch);
        const first = run.publications[0]!.offset;
        expect(run.publications.map((p) => p.offset)).toEqual(range(first, first + run.publications.length - 1));
      }
    });

    test('body, key and time arrive as they were published, in memory of their own', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      const channel = 'räume:日本/🚀';
      await broker.subscribe(channel);
      const history = { size: 10, ttlMs: 1e15 };
      const timeMs = 1_700_000_000_123;
      const request = requestFor(channel, '🚀 "quoted" \u0000 é', { key: 'schlüssel-🔑', timeMs, history });
      const expected = Buffer.from(request.body);
      const published = broker.publish(request);
      await published;
      // The publisher may use its memory again once it has the position.
      request.body.fill(0);
      await vi.waitFor(() => expect(events.publications(channel)).toHaveLength(1), WAIT);
      const [received] = events.publications(channel);
      expect(received!.body.equals(expected)).toBe(true);
      expect(received).toMatchObject({ offset: 1, timeMs, key: 'schlüssel-🔑' });
      const kept = await broker.history.read({
        channel,
        start: { kind: 'earliest' },
        limit: 1,
        reverse: false,
        bounds: history,
      });
      expect(contentOf(kept.publications[0]!)).toEqual(contentOf(received!));
    });

    test('large bodies arrive whole', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await broker.subscribe('large');
      const sizes = [700_000, 10, 1_500_000, 70_000, 65_536];
      await Promise.all(sizes.map((size, n) => broker.publish(requestFor('large', String(n).repeat(size)))));
      await vi.waitFor(() => expect(events.offsets('large')).toEqual(range(1, 5)), WAIT);
      expect(events.publications('large').map((p) => (dataOf(p) as string).length)).toEqual(sizes);
    });

    test('many channels subscribed in one tick all receive', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      const channels = range(1, 2_500).map((n) => `many:${n}`);
      await Promise.all(channels.map((channel) => broker.subscribe(channel)));
      await Promise.all(channels.map((channel) => broker.publish(requestFor(channel, 1))));
      await vi.waitFor(() => expect(events.runs).toHaveLength(channels.length), WAIT);
      expect(new Set(events.runs.map((run) => run.channel)).size).toBe(channels.length);
    });
  });

  describe('subscribing', () => {
    test('only subscribed nodes receive, and only after subscribing', async () => {
      await using cluster = await harness.openCluster();
      const a = await startNode(cluster, 'a');
      const b = await startNode(cluster, 'b');
      await a.broker.publish(requestFor('news', 'before'));
      await a.broker.subscribe('news');
      await a.broker.subscribe('end');
      await b.broker.subscribe('end');
      await a.broker.publish(requestFor('news', 'after'));
      await a.broker.publish(requestFor('end', 1));
      await vi.waitFor(() => {
        expect(a.events.offsets('end')).toEqual([1]);
        expect(b.events.offsets('end')).toEqual([1]);
      }, WAIT);
      expect(a.events.offsets('news')).toEqual([2]);
      expect(b.events.offsets('news')).toEqual([]);
    });

    test('subscribing twice delivers once', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await Promise.all([broker.subscribe('x'), broker.subscribe('x')]);
      await broker.subscribe('x');
      await broker.publish(requestFor('x', 1));
      await broker.publish(requestFor('x', 2));
      await vi.waitFor(() => expect(events.offsets('x')).toEqual([1, 2]), WAIT);
    });

    test('nothing is delivered after unsubscribing, which may be repeated', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await Promise.all([broker.subscribe('x'), broker.subscribe('end')]);
      await broker.unsubscribe('x');
      await broker.unsubscribe('x');
      await broker.unsubscribe('never subscribed');
      await broker.publish(requestFor('x', 1));
      await broker.publish(requestFor('end', 1));
      await vi.waitFor(() => expect(events.offsets('end')).toEqual([1]), WAIT);
      expect(events.offsets('x')).toEqual([]);
    });

    test('a subscribe that follows an unsubscribe in the same tick wins', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await broker.subscribe('x');
      await Promise.all([broker.unsubscribe('x'), broker.subscribe('x')]);
      await broker.publish(requestFor('x', 1));
      await vi.waitFor(() => expect(events.offsets('x')).toEqual([1]), WAIT);
    });

    test('of many changes the last one counts, also while earlier ones are under way', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await broker.subscribe('end');
      const settled: Promise<void>[] = [];
      for (let i = 0; i < 20; i += 1) {
        settled.push(broker.subscribe('on'), broker.unsubscribe('off'));
        if (i % 3 === 0) await new Promise(setImmediate);
        settled.push(broker.unsubscribe('on'), broker.subscribe('off'));
        if (i % 4 === 0) await new Promise(setImmediate);
      }
      settled.push(broker.subscribe('on'), broker.unsubscribe('off'));
      await Promise.all(settled);
      await broker.publish(requestFor('on', 1));
      await broker.publish(requestFor('off', 1));
      await broker.publish(requestFor('end', 1));
      await vi.waitFor(() => {
        expect(events.offsets('on')).toEqual([1]);
        expect(events.offsets('end')).toEqual([1]);
      }, WAIT);
      expect(events.offsets('off')).toEqual([]);
    });

    test('a receiver that throws is reported and keeps receiving', async () => {
      await using cluster = await harness.openCluster();
      const broker = cluster.createBroker('a');
      const seen: number[] = [];
      const stages: string[] = [];
      await broker.start({
        onPublications(run) {
          seen.push(run.publications[0]!.offset);
          throw new Error('receiver failed');
        },
        onEphemeral: () => undefined,
        onInterrupted: () => undefined,
        onRestored: () => undefined,
        onHealth: () => undefined,
        tails: () => [],
        onError: (_, { stage }) => void stages.push(stage),
      });
      await broker.subscribe('x');
      await broker.publish(requestFor('x', 1));
      await vi.waitFor(() => expect(seen).toEqual([1]), WAIT);
      await broker.publish(requestFor('x', 2));
      await vi.waitFor(() => expect(seen).toEqual([1, 2]), WAIT);
      expect(stages).toHaveLength(2);
    });
  });
};
