// Conformance: sessions are kept for a lease, claimed by one, and safe from late saves.
import { describe, expect, test, vi } from 'vitest';
import { BrokerUnavailableError } from '../broker.ts';
import type { SessionRecord, SessionSubscription } from '../sessions.ts';
import { startNode, WAIT, type ConformanceHarness } from './harness.ts';

const LEASE_MS = 60_000;

const subscription = (channel: string, offset = 1): SessionSubscription => ({
  channel,
  policy: 'all',
  window: 100,
  position: { epoch: 'e', offset },
});
const record = (session: string, more: Partial<SessionRecord> = {}): SessionRecord => ({
  session,
  owner: null,
  holder: { node: 'a', connection: 'c1' },
  fence: 1,
  subscriptions: [subscription('chat:ä"\\')],
  ...more,
});
const holder = { node: 'b', connection: 'c2' };

export const sessionCases = (harness: ConformanceHarness): void => {
  describe('sessions', () => {
    test('many are saved at once, and each is claimed on another node as it was, with who held it', async () => {
      await using cluster = await harness.openCluster();
      const a = (await startNode(cluster, 'a')).broker.sessions;
      const b = (await startNode(cluster, 'b')).broker.sessions;
      const names = Array.from({ length: 300 }, (_, n) => `s${n}`);
      const records = names.map((name, n) => record(name, { subscriptions: [subscription(`c${n}`, n)] }));
      expect(await a.save(records, LEASE_MS)).toEqual(names.map(() => 'saved'));
      const fences: (number | undefined)[] = [1];
      for (const n of [0, 299, 7]) {
        const claimed = await b.claim({ session: `s${n}`, owner: null, holder }, LEASE_MS);
        expect(claimed).toEqual({
          previous: { node: 'a', connection: 'c1' },
          fence: claimed?.fence,
          subscriptions: [subscription(`c${n}`, n)],
        });
        fences[1] = claimed?.fence;
      }
      const third = await a.claim({ session: 's7', owner: null, holder: { node: 'a', connection: 'c3' } }, LEASE_MS);
      expect(third).toMatchObject({ previous: holder });
      expect(fences[1]).toBeGreaterThan(1);
      expect(third?.fence).toBeGreaterThan(fences[1]!);
      expect(await a.save([], LEASE_MS)).toEqual([]);
      await a.remove([], LEASE_MS);
    });

    test('of claims at the same time each gets a fence of its own, and names the one before', async () => {
      await using cluster = await harness.openCluster();
      const nodes = await Promise.all(['a', 'b', 'c'].map((node) => startNode(cluster, node)));
      await nodes[0]!.broker.sessions.save([record('s')], LEASE_MS);
      const claims = await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          nodes[n % 3]!.broker.sessions.claim(
            { session: 's', owner: null, holder: { node: 'x', connection: `claimant-${n}` } },
            LEASE_MS,
          ),
        ),
      );
      expect(new Set(claims.map((claim) => claim?.fence)).size).toBe(12);
      expect(claims.every((claim) => claim!.fence > 1)).toBe(true);
      expect(new Set(claims.map((claim) => claim?.previous.connection)).size).toBe(12);
    });

    test('a late save of the former holder changes nothing and is reported, among others that are saved', async () => {
      await using cluster = await harness.openCluster();
      const { sessions } = (await startNode(cluster, 'a')).broker;
      await sessions.save([record('s')], LEASE_MS);
      await sessions.claim({ session: 's', owner: null, holder }, LEASE_MS);
      const late = [record('r'), record('s', { subscriptions: [] }), record('t')];
      expect(await sessions.save(late, LEASE_MS)).toEqual(['saved', 'stale', 'saved']);
      await sessions.remove([{ session: 's', fence: 1 }], LEASE_MS);
      expect(await sessions.claim({ session: 's', owner: null, holder }, LEASE_MS)).toMatchObject({
        previous: holder,
        subscriptions: record('s').subscriptions,
      });
    });

    test('a removed session is unknown, and a late save does not bring it back', async () => {
      await using cluster = await harness.openCluster();
      const { sessions } = (await startNode(cluster, 'a')).broker;
      await sessions.save([record('s')], LEASE_MS);
      const claimed = await sessions.claim({ session: 's', owner: null, holder }, LEASE_MS);
      await sessions.remove([{ session: 's', fence: claimed!.fence }], LEASE_MS);
      expect(await sessions.save([record('s')], LEASE_MS)).toEqual(['stale']);
      expect(await sessions.claim({ session: 's', owner: null, holder }, LEASE_MS)).toBeUndefined();
    });

    test('a session is only its owner’s, and a claim by somebody else leaves it as it is', async () => {
      await using cluster = await harness.openCluster();
      const { sessions } = (await startNode(cluster, 'a')).broker;
      await sessions.save([record('ada', { owner: 'ada' }), record('nobody')], LEASE_MS);
      for (const [session, owner] of [
        ['ada', null],
        ['ada', 'bob'],
        ['ada', ''],
        ['nobody', 'ada'],
        ['nobody', ''],
        ['nobody', 'anonymous'],
        ['unknown', null],
      ] as const) {
        expect(await sessions.claim({ session, owner, holder }, LEASE_MS)).toBeUndefined();
      }
      expect(await sessions.save([record('ada', { owner: 'ada' })], LEASE_MS)).toEqual(['saved']);
      expect(await sessions.claim({ session: 'ada', owner: 'ada', holder }, LEASE_MS)).toMatchObject({
        previous: record('ada').holder,
      });
    });

    test('a session that is not saved again is gone when its lease ends', async () => {
      await using cluster = await harness.openCluster();
      const { sessions } = (await startNode(cluster, 'a')).broker;
      await sessions.save([record('short')], 100);
      await sessions.save([record('renewed')], 100);
      await sessions.save([record('renewed', { subscriptions: [] })], LEASE_MS);
      cluster.clock.advance(101);
      // A lower fence is refused as long as the first record lives.
      await vi.waitFor(async () => {
        expect(await sessions.save([record('short', { fence: 0 })], LEASE_MS)).toEqual(['saved']);
      }, WAIT);
      expect(await sessions.claim({ session: 'renewed', owner: null, holder }, LEASE_MS)).toMatchObject({
        previous: record('renewed').holder,
        subscriptions: [],
      });
    });

    test('a broker that is closed or not started rejects', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      await broker.close();
      for (const { sessions } of [broker, cluster.createBroker('fresh')]) {
        await expect(sessions.save([record('s')], LEASE_MS)).rejects.toThrow(BrokerUnavailableError);
        await expect(sessions.claim({ session: 's', owner: null, holder }, LEASE_MS)).rejects.toThrow(
          BrokerUnavailableError,
        );
        await expect(sessions.remove([{ session: 's', fence: 1 }], LEASE_MS)).rejects.toThrow(BrokerUnavailableError);
      }
    });
  });
};
