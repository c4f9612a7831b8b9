// Conformance: revocations reach every node, those that join later as well, and end when they should.
import { describe, expect, test, vi } from 'vitest';
import { BrokerUnavailableError } from '../broker.ts';
import type { Revocation } from '../revocations.ts';
import { type ConformanceHarness, startNode, WAIT } from './harness.ts';

const sorted = (revocations: readonly Revocation[]): readonly Revocation[] =>
  [...revocations].sort((a, b) => (`${a.kind}:${a.value}` < `${b.kind}:${b.value}` ? -1 : 1));

export const revocationCases = (harness: ConformanceHarness): void => {
  describe('revocations', () => {
    const atMs = Math.floor(Date.now());
    const revoke = (kind: Revocation['kind'], value: string, more: Partial<Revocation> = {}): Revocation => ({
      kind,
      value,
      atMs,
      untilMs: atMs + 3_600_000,
      ...more,
    });

    test('what one node adds another reads as it was, also one that joins later, each only once', async () => {
      await using cluster = await harness.openCluster();
      const a = (await startNode(cluster, 'a')).broker.revocations;
      const empty = await a.read('');
      expect([empty.revocations, empty.isAnew]).toEqual([[], false]);
      const all = [
        revoke('session', 's 1'),
        revoke('token', 'x:*\n"ä'),
        revoke('user', 'ada:b'),
        revoke('user', 'bob'),
      ];
      await a.add(all.slice(0, 2));
      const b = (await startNode(cluster, 'b')).broker.revocations;
      const first = await b.read('');
      expect(sorted(first.revocations)).toEqual(all.slice(0, 2));
      await a.add(all.slice(2));
      const second = await b.read(first.version);
      expect([sorted(second.revocations), second.isAnew]).toEqual([all.slice(2), false]);
      expect((await b.read(second.version)).revocations).toEqual([]);
      expect(sorted((await a.read(empty.version)).revocations)).toEqual(all);
    });

    test('of two for the same the later moment and the later end count; what is known already is no news', async () => {
      await using cluster = await harness.openCluster();
      const { revocations } = (await startNode(cluster, 'a')).broker;
      await revocations.add([revoke('user', 'ada', { atMs: atMs + 5, untilMs: atMs + 3_600_000 })]);
      await revocations.add([revoke('user', 'ada', { atMs, untilMs: atMs + 7_200_000 })]);
      const { version, revocations: merged } = await revocations.read('');
      expect(merged).toEqual([revoke('user', 'ada', { atMs: atMs + 5, untilMs: atMs + 7_200_000 })]);
      await revocations.add(merged);
      expect((await revocations.read(version)).revocations).toEqual([]);
    });

    test('thousands are added and read', async () => {
      await using cluster = await harness.openCluster();
      const { revocations } = (await startNode(cluster, 'a')).broker;
      const many = Array.from({ length: 2500 }, (_, n) => revoke('token', `t${n}`));
      await revocations.add(many);
      const read = await revocations.read('');
      expect(new Set(read.revocations.map(({ value }) => value))).toEqual(new Set(many.map(({ value }) => value)));
      expect((await revocations.read(read.version)).revocations).toEqual([]);
    });

    test('one whose end has come is gone when the next is added', async () => {
      await using cluster = await harness.openCluster();
      const { revocations } = (await startNode(cluster, 'a')).broker;
      await revocations.add([revoke('user', 'short', { untilMs: cluster.clock.nowMs() + 50 })]);
      cluster.clock.advance(60);
      await vi.waitFor(async () => {
        await revocations.add([revoke('user', 'long')]);
        expect((await revocations.read('')).revocations.map(({ value }) => value)).toEqual(['long']);
      }, WAIT);
    });

    test('a version of another store is answered with everything, and told to be of another', async () => {
      await using cluster = await harness.openCluster();
      await using other = await harness.openCluster();
      const a = (await startNode(cluster, 'a')).broker.revocations;
      const b = (await startNode(other, 'b')).broker.revocations;
      await a.add([revoke('user', 'ada'), revoke('user', 'bob')]);
      await b.add([revoke('user', 'eve')]);
      const read = await b.read((await a.read('')).version);
      expect([read.isAnew, read.revocations]).toEqual([true, [revoke('user', 'eve')]]);
    });

    test('calls of a broker that is not started or closed reject', async () => {
      await using cluster = await harness.openCluster();
      const fresh = cluster.createBroker('a');
      await expect(fresh.revocations.read('')).rejects.toThrow(BrokerUnavailableError);
      const { broker } = await startNode(cluster, 'b');
      await broker.close();
      await expect(broker.revocations.add([revoke('user', 'ada')])).rejects.toThrow(BrokerUnavailableError);
      await fresh.close();
    });
  });
};
