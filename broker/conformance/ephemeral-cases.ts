// Conformance: ephemeral messages reach whoever listens at that moment, and leave nothing behind.
import { describe, expect, test, vi } from 'vitest';
import { BrokerUnavailableError } from '../broker.ts';
import type { EphemeralRequest } from '../publication.ts';
import { BOUNDS, type ConformanceHarness, range, type Recorder, requestFor, startNode, WAIT } from './harness.ts';

const message = (channel: string, data: unknown): EphemeralRequest => {
  const timeMs = 1_700_000_000_123;
  return { channel, timeMs, body: Buffer.from(JSON.stringify({ data, time: timeMs })) };
};
const received = (events: Recorder, channel: string): unknown[] =>
  events.ephemeral
    .filter((run) => run.channel === channel)
    .flatMap(({ messages }) => messages.map(({ body }) => (JSON.parse(body.toString()) as { data: unknown }).data));

export const ephemeralCases = (harness: ConformanceHarness): void => {
  describe('ephemeral messages', () => {
    test('reach every subscribed node once, in the order of each sender', async () => {
      await using cluster = await harness.openCluster();
      const nodes = await Promise.all(['a', 'b', 'c'].map((node) => startNode(cluster, node)));
      const [a, b, c] = [nodes[0]!, nodes[1]!, nodes[2]!];
      await Promise.all([a.broker.subscribe('typing'), b.broker.subscribe('typing')]);
      await Promise.all(range(1, 300).map((n) => c.broker.publishEphemeral(message('typing', n))));
      await vi.waitFor(() => {
        for (const { events } of [a, b]) expect(received(events, 'typing')).toHaveLength(300);
      }, WAIT);
      for (const { events } of [a, b]) expect(received(events, 'typing')).toEqual(range(1, 300));
      expect(c.events.ephemeral).toEqual([]);
      // What one tick brings travels together.
      expect(a.events.ephemeral.length).toBeLessThan(20);
    });

    test('arrive whole, with their time and key, in memory of their own', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      const channel = 'räume:日本/🚀';
      await broker.subscribe(channel);
      const request = { ...message(channel, 'é'.repeat(200_000)), key: 'schlüssel 🔑' };
      const expected = Buffer.from(request.body);
      const small = message(channel, '🚀 "quoted" \u0000');
      await Promise.all([broker.publishEphemeral(request), broker.publishEphemeral(small)]);
      request.body.fill(0);
      await vi.waitFor(() => expect(received(events, channel)).toHaveLength(2), WAIT);
      const [first, second] = events.ephemeral.flatMap(({ messages }) => messages);
      expect(first!.body.equals(expected)).toBe(true);
      expect(first!.timeMs).toBe(request.timeMs);
      expect([first!.key, second!.key]).toEqual([request.key, undefined]);
      expect(second!.body.equals(small.body)).toBe(true);
    });

    test('leave no history and no position, and no other event', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await broker.subscribe('typing');
      await broker.publishEphemeral(message('typing', 1));
      await vi.waitFor(() => expect(received(events, 'typing')).toEqual([1]), WAIT);
      const page = await broker.history.read({
        channel: 'typing',
        start: { kind: 'earliest' },
        limit: 10,
        reverse: false,
        bounds: BOUNDS,
      });
      expect(page).toMatchObject({ position: { offset: 0 }, publications: [] });
      expect(events.runs).toEqual([]);
    });

    test('do not reach who left, nor who comes later', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await Promise.all(['left', 'end'].map((channel) => broker.subscribe(channel)));
      await broker.unsubscribe('left');
      await broker.publishEphemeral(message('left', 1));
      await broker.publishEphemeral(message('late', 1));
      await broker.subscribe('late');
      await broker.publishEphemeral(message('end', 1));
      await vi.waitFor(() => expect(received(events, 'end')).toEqual([1]), WAIT);
      expect(events.ephemeral.map(({ channel }) => channel)).toEqual(['end']);
    });

    test('pass beside publications of other channels', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      await Promise.all(['typing', 'feed'].map((channel) => broker.subscribe(channel)));
      await Promise.all(
        range(1, 50).flatMap((n) => [
          broker.publishEphemeral(message('typing', n)),
          broker.publish(requestFor('feed', n)),
        ]),
      );
      await vi.waitFor(() => {
        expect(received(events, 'typing')).toEqual(range(1, 50));
        expect(events.offsets('feed')).toEqual(range(1, 50));
      }, WAIT);
    });

    test('are refused before the start and after the end', async () => {
      await using cluster = await harness.openCluster();
      const broker = cluster.createBroker('new');
      await expect(broker.publishEphemeral(message('x', 1))).rejects.toBeInstanceOf(BrokerUnavailableError);
      await broker.close();
      await expect(broker.publishEphemeral(message('x', 1))).rejects.toBeInstanceOf(BrokerUnavailableError);
    });
  });
};
