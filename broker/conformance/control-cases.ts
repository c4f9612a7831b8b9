// Conformance: leases, requests to every node, and what closing means.
import { describe, expect, test, vi } from 'vitest';
import { BrokerUnavailableError } from '../broker.ts';
import { BOUNDS, WAIT, createRecorder, requestFor, startNode, type ConformanceHarness } from './harness.ts';

export const controlCases = (harness: ConformanceHarness): void => {
  describe('nodes', () => {
    test('announced nodes are listed by name with what they last said, on every node', async () => {
      await using cluster = await harness.openCluster();
      const b = await startNode(cluster, 'b');
      const a = await startNode(cluster, 'a');
      expect(await a.broker.control.nodes()).toEqual([]);
      await b.broker.control.announce({ connections: 2 });
      await a.broker.control.announce({ connections: 1 });
      await b.broker.control.announce({ connections: 3, zones: ['x', null] });
      for (const { broker } of [a, b]) {
        const nodes = await broker.control.nodes();
        expect(nodes.map(({ node, info }) => ({ node, info }))).toEqual([
          { node: 'a', info: { connections: 1 } },
          { node: 'b', info: { connections: 3, zones: ['x', null] } },
        ]);
        expect(Math.abs(nodes[0]!.announcedAtMs - cluster.clock.nowMs())).toBeLessThan(60_000);
      }
    });

    test('a node that stops renewing disappears when its lease ends', async () => {
      await using cluster = await harness.openCluster();
      const leaseMs = 200;
      const silent = await startNode(cluster, 'silent', { leaseMs });
      const watcher = await startNode(cluster, 'watcher');
      await silent.broker.control.announce(null);
      expect(await watcher.broker.control.nodes()).toHaveLength(1);
      cluster.clock.advance(leaseMs + 1);
      await vi.waitFor(async () => expect(await watcher.broker.control.nodes()).toEqual([]), WAIT);
    });

    test('a closed node disappears at once', async () => {
      await using cluster = await harness.openCluster();
      const a = await startNode(cluster, 'a');
      const b = await startNode(cluster, 'b');
      await a.broker.control.announce(1);
      await b.broker.control.announce(2);
      await a.broker.close();
      expect((await b.broker.control.nodes()).map((record) => record.node)).toEqual(['b']);
    });
  });

  describe('requests', () => {
    test('every live node answers for itself, the asking one included', async () => {
      await using cluster = await harness.openCluster();
      const brokers = ['a', 'b', 'c'].map((node) => cluster.createBroker(node));
      for (const [n, broker] of brokers.entries()) {
        broker.control.handle('count', async (payload) => {
          await new Promise(setImmediate);
          return { n, payload };
        });
        await broker.start(createRecorder());
        await broker.control.announce(null);
      }
      const result = await brokers[1]!.control.request('count', { of: ['ä'] }, 10_000);
      expect(result).toEqual({
        answers: ['a', 'b', 'c'].map((node, n) => ({ node, answer: { n, payload: { of: ['ä'] } } })),
        missing: [],
      });
    });

    test('a node that does not answer in time is missing, the others are not', async () => {
      await using cluster = await harness.openCluster();
      const slow = await startNode(cluster, 'slow');
      const quick = await startNode(cluster, 'quick');
      slow.broker.control.handle('x', () => new Promise(() => undefined));
      quick.broker.control.handle('x', () => 1);
      await Promise.all([slow, quick].map(({ broker }) => broker.control.announce(null)));
      expect(await quick.broker.control.request('x', null, 150)).toEqual({
        answers: [{ node: 'quick', answer: 1 }],
        missing: ['slow'],
      });
    });

    test('a handler that throws and a kind nobody handles count as missing, without waiting', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      broker.control.handle('bad', () => {
        throw new Error('no');
      });
      await broker.control.announce(null);
      const none = { answers: [], missing: ['a'] };
      // Far beyond the time limit of a test: only an immediate settlement passes.
      expect(await broker.control.request('bad', null, 600_000)).toEqual(none);
      expect(await broker.control.request('unknown', null, 600_000)).toEqual(none);
      expect(events.errors.map(({ error }) => error.message)).toEqual(['no']);
    });

    test('concurrent requests do not mix', async () => {
      await using cluster = await harness.openCluster();
      const a = await startNode(cluster, 'a');
      const b = await startNode(cluster, 'b');
      for (const { broker } of [a, b]) {
        broker.control.handle('echo', (payload) => payload);
        await broker.control.announce(null);
      }
      const results = await Promise.all(
        [1, 2, 3, 4].map((n) => (n % 2 === 0 ? a : b).broker.control.request('echo', n, 10_000)),
      );
      expect(results.map((result) => result.answers.map(({ answer }) => answer))).toEqual([
        [1, 1],
        [2, 2],
        [3, 3],
        [4, 4],
      ]);
    });

    test('without a live node the result is empty', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      expect(await broker.control.request('x', null, 600_000)).toEqual({ answers: [], missing: [] });
    });
  });

  describe('closing', () => {
    test('a broker that is not started or closed rejects every call', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      await broker.subscribe('x');
      await broker.close();
      await broker.close();
      const fresh = cluster.createBroker('b');
      const query = { channel: 'x', start: { kind: 'earliest' }, limit: 1, reverse: false, bounds: BOUNDS } as const;
      for (const unusable of [broker, fresh]) {
        expect(unusable.health().state).toBe('degraded');
        const calls = [
          () => unusable.publish(requestFor('x', 1)),
          () => unusable.subscribe('x'),
          () => unusable.history.read(query),
          () => unusable.history.positions(['x']),
          () => unusable.control.announce(null),
          () => unusable.control.nodes(),
          () => unusable.control.request('x', null, 10),
        ];
        for (const call of calls) await expect(call()).rejects.toThrow(BrokerUnavailableError);
      }
      await fresh.close();
    });

    test('no event fires after closing', async () => {
      await using cluster = await harness.openCluster();
      const a = await startNode(cluster, 'a');
      const b = await startNode(cluster, 'b');
      await Promise.all([a, b].map(({ broker }) => broker.subscribe('x')));
      await a.broker.close();
      const before = { runs: a.events.runs.length, health: a.events.health.length };
      await b.broker.publish(requestFor('x', 1));
      await vi.waitFor(() => expect(b.events.offsets('x')).toEqual([1]), WAIT);
      expect({ runs: a.events.runs.length, health: a.events.health.length }).toEqual(before);
      expect(a.events.path).toEqual([]);
      expect(a.events.errors).toEqual([]);
    });

    test('an open request rejects when its broker closes', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      let asked = false;
      broker.control.handle('x', () => {
        asked = true;
        return new Promise(() => undefined);
      });
      await broker.control.announce(null);
      const rejected = expect(broker.control.request('x', null, 600_000)).rejects.toThrow(BrokerUnavailableError);
      await vi.waitFor(() => expect(asked).toBe(true), WAIT);
      await broker.close();
      await rejected;
    });

    test('health is ready after starting and was told once', async () => {
      await using cluster = await harness.openCluster();
      const { broker, events } = await startNode(cluster, 'a');
      expect(broker.health()).toEqual({ state: 'ready' });
      expect(events.health).toEqual([{ state: 'ready' }]);
    });
  });
};
