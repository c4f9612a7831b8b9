// Conformance: lifecycle events are written once, read in order by one holder until acknowledged, and outlive the node they are about.
import { describe, expect, test, vi } from 'vitest';
import { BrokerUnavailableError } from '../broker.ts';
import {
  type LifecycleChange,
  type LifecycleLog,
  type LifecycleTerms,
  NODE_LOST,
  type RecordOutcome,
  type Taken,
} from '../lifecycle.ts';
import { type ConformanceHarness, startNode, WAIT } from './harness.ts';

const TERMS: LifecycleTerms = { leaseMs: 60_000, graceMs: 0, maxEvents: 10_000 };
const LANE = 3;

const connected = (key: string): LifecycleChange => ({ kind: 'connected', key, timeMs: 1, about: `about ${key} "ä` });
const disconnected = (key: string): LifecycleChange => ({
  kind: 'disconnected',
  key,
  timeMs: 2,
  about: `about ${key} "ä`,
  detail: '1000',
});
const joined = (channel: string): LifecycleChange => ({ kind: 'joined', channel, timeMs: 3 });
const left = (channel: string): LifecycleChange => ({ kind: 'left', channel, timeMs: 4 });

/** One node's view of the lane. */
const createUser = (log: LifecycleLog, holder: string) => ({
  log,
  record: (
    seq: number,
    changes: readonly LifecycleChange[],
    more: Partial<LifecycleTerms> = {},
  ): Promise<RecordOutcome> => log.record({ lane: LANE, life: `${holder}.1`, seq, changes }, { ...TERMS, ...more }),
  take: (kind: 'hold' | 'look' | 'leave' = 'hold', more: { limit?: number; holdMs?: number } = {}): Promise<Taken> =>
    log.take(
      {
        ...{ lane: LANE, holder, limit: more.limit ?? 10_000 },
        wish: kind === 'hold' ? { kind, holdMs: more.holdMs ?? 60_000 } : { kind },
      },
      TERMS,
    ),
});

const told = ({ events }: Pick<Taken, 'events'>): string[] =>
  events.map(({ type, subject, detail }) => [type, subject, detail].filter((part) => part !== '').join(' '));

export const lifecycleCases = (harness: ConformanceHarness): void => {
  describe('lifecycle events', () => {
    const open = async (names: readonly string[]) => {
      const cluster = await harness.openCluster();
      const users = await Promise.all(
        names.map(async (name) => createUser((await startNode(cluster, name)).broker.lifecycle, name)),
      );
      return { cluster, users, [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose]() };
    };

    test('changes become events in their order, which one holder gets again and again until it acknowledges them', async () => {
      await using opened = await open(['a', 'b']);
      const [a, b] = [opened.users[0]!, opened.users[1]!];
      expect(await a.take()).toMatchObject({ isHeld: true, events: [], backlog: 0, oldestMs: 0 });
      await a.record(1, [connected('x.1'), joined('chat:ä"')]);
      await b.record(1, [connected('y.1'), joined('chat:ä"')]);
      await a.record(2, [disconnected('x.1'), { kind: 'lost', timeMs: 9, detail: 'so many' }]);
      const all = await a.take();
      expect(told(all)).toEqual([
        ...['connected about x.1 "ä', 'occupied chat:ä"', 'connected about y.1 "ä'],
        ...['disconnected about x.1 "ä 1000', 'lost so many'],
      ]);
      expect(all.events.map(({ timeMs }) => timeMs)).toEqual([1, 3, 1, 2, 9]);
      expect(all.events.filter(({ id }) => /connected$/.test(id)).map(({ id }) => id)).toEqual([
        ...['x.1.connected', 'y.1.connected', 'x.1.disconnected'],
      ]);
      expect(new Set(all.events.map(({ id }) => id)).size).toBe(5);
      expect(await b.take()).toMatchObject({ isHeld: false, events: [], backlog: 5 });
      expect((await a.take('hold', { limit: 2 })).events).toEqual(all.events.slice(0, 2));
      await a.log.acknowledge(
        LANE,
        all.events.slice(0, 3).map(({ position }) => position),
      );
      await a.log.acknowledge(LANE, []);
      expect((await a.take('look')).events).toEqual(all.events.slice(3));
      expect(await a.take('leave')).toMatchObject({ isHeld: false, events: [], backlog: 2 });
      expect(await a.take('look')).toMatchObject({ isHeld: false, events: [] });
      expect((await b.take()).events).toEqual(all.events.slice(3));
      expect(await a.take()).toMatchObject({ isHeld: false, backlog: 2 });
    });

    test('lanes know nothing of one another, and give no id twice', async () => {
      await using opened = await open(['a']);
      const a = opened.users[0]!;
      const full = { ...TERMS, maxEvents: 1 };
      const batch = { life: 'a.1', seq: 1, changes: [joined('c'), joined('d')] };
      const takeFrom = (lane: number) =>
        a.log.take({ lane, holder: 'a', wish: { kind: 'hold', holdMs: 60_000 }, limit: 10 }, TERMS);
      await a.log.record({ ...batch, lane: LANE }, full);
      expect(await takeFrom(LANE + 1)).toMatchObject({ isHeld: true, backlog: 0 });
      await a.log.record({ ...batch, lane: LANE + 1 }, full);
      const events = (await Promise.all([takeFrom(LANE), takeFrom(LANE + 1)])).flatMap((taken) => taken.events);
      expect(events.map(({ type }) => type)).toEqual(['occupied', 'lost', 'occupied', 'lost']);
      expect(new Set(events.map(({ id }) => id)).size).toBe(4);
    });

    test('a batch that is written again is written once, and one whose predecessor is missing not at all', async () => {
      await using opened = await open(['a']);
      const a = opened.users[0]!;
      expect(await a.record(1, [])).toEqual({ kind: 'unknown' });
      expect(await a.record(2, [connected('x.1')])).toEqual({ kind: 'unknown' });
      const batch = [connected('x.1'), joined('c')];
      expect(await a.record(1, batch)).toEqual({ kind: 'recorded' });
      expect(await a.record(1, batch)).toEqual({ kind: 'recorded' });
      expect(await a.record(1, [])).toEqual({ kind: 'recorded' });
      expect(await a.record(2, [])).toEqual({ kind: 'behind', seq: 1 });
      expect(await a.record(3, [left('c')])).toEqual({ kind: 'behind', seq: 1 });
      expect(await a.record(2, [disconnected('x.1')])).toEqual({ kind: 'recorded' });
      expect(await a.record(1, batch)).toEqual({ kind: 'recorded' });
      expect(told(await a.take())).toHaveLength(3);
    });

    test('a channel is occupied by the first node and vacated by the last, once each', async () => {
      await using opened = await open(['a', 'b']);
      const [a, b] = [opened.users[0]!, opened.users[1]!];
      await a.record(1, [joined('c'), joined('c'), left('unheard of')]);
      await b.record(1, [joined('c')]);
      await a.record(2, [left('c'), left('c')]);
      expect(told(await a.take())).toEqual(['occupied c']);
      await b.record(2, [left('c')]);
      expect(told(await a.take())).toEqual(['occupied c', 'vacated c']);
      await a.record(3, [joined('c')]);
      expect(told(await a.take())).toEqual(['occupied c', 'vacated c', 'occupied c']);
      const { events } = await a.take();
      expect(new Set(events.map(({ id }) => id)).size).toBe(3);
    });

    test('a channel is told as occupied again when its node asks for that, and counts once all the same', async () => {
      await using opened = await open(['a']);
      const a = opened.users[0]!;
      await a.record(1, [joined('c'), { kind: 'joined', channel: 'c', timeMs: 5, again: true }]);
      await a.record(2, [left('c')]);
      expect(told(await a.take())).toEqual(['occupied c', 'occupied c', 'vacated c']);
    });

    test('a channel that is joined again within the grace was never vacated, and one that is not is vacated after it', async () => {
      await using opened = await open(['a', 'b']);
      const [a, b] = [opened.users[0]!, opened.users[1]!];
      await a.record(1, [joined('back'), joined('gone')]);
      await a.record(2, [left('back')], { graceMs: 60_000 });
      await a.record(3, [left('gone')], { graceMs: 150 });
      expect(told(await a.take())).toEqual(['occupied back', 'occupied gone']);
      await b.record(1, [joined('back')]);
      opened.cluster.clock.advance(151);
      await vi.waitFor(async () => {
        expect(told(await a.take())).toEqual(['occupied back', 'occupied gone', 'vacated gone']);
      }, WAIT);
    });

    test('a node that is not heard from is taken out by whoever looks, each connection and channel once', async () => {
      await using opened = await open(['dies', 'b', 'c']);
      const [dies, b, c] = [opened.users[0]!, opened.users[1]!, opened.users[2]!];
      const names = Array.from({ length: 1200 }, (_, n) => `x${n}.1`);
      await dies.record(1, names.map(connected), { leaseMs: 200 });
      await dies.record(2, [joined('shared'), joined('alone')], { leaseMs: 200 });
      await b.record(1, [connected('y.1'), joined('shared')]);
      await dies.take('hold');
      opened.cluster.clock.advance(201);
      await vi.waitFor(async () => {
        const looks = await Promise.all([b.take('look'), c.take('look'), b.take('look')]);
        expect(looks.map(({ isUnfinished }) => isUnfinished)).toEqual([false, false, false]);
        // It held the lane, which is free at once.
        const all = await b.take();
        const ends = all.events.filter(({ type }) => type === 'disconnected');
        expect(ends.map(({ subject }) => subject).sort()).toEqual(names.map((key) => `about ${key} "ä`).sort());
        expect(ends.every(({ detail, id }) => detail === NODE_LOST && /^x\d+\.1\.disconnected$/.test(id))).toBe(true);
        expect(told(all).filter((one) => one.startsWith('vacated'))).toEqual(['vacated alone']);
      }, WAIT);
      expect(await dies.record(3, [connected('late.1')])).toEqual({ kind: 'retired' });
      expect(await dies.record(2, [])).toEqual({ kind: 'retired' });
    });

    test('a node that renews its lease stays, with changes and without', async () => {
      await using opened = await open(['a', 'b']);
      const [a, b] = [opened.users[0]!, opened.users[1]!];
      await a.record(1, [connected('x.1')], { leaseMs: 100 });
      await b.record(1, [connected('y.1')], { leaseMs: 100 });
      await a.record(1, [], { leaseMs: 60_000 });
      opened.cluster.clock.advance(101);
      await vi.waitFor(async () => {
        expect(told(await a.take()).at(-1)).toBe('disconnected about y.1 "ä node_lost');
      }, WAIT);
      expect(told(await a.take())).toHaveLength(3);
      expect(await a.record(2, [disconnected('x.1')])).toEqual({ kind: 'recorded' });
    });

    test('a life that is ended leaves nothing, and its holder no hold', async () => {
      await using opened = await open(['a', 'b']);
      const [a, b] = [opened.users[0]!, opened.users[1]!];
      await a.record(1, [connected('x.1'), joined('c')]);
      await a.take('hold');
      while (!(await a.log.retire(LANE, 'a.1', TERMS)));
      expect(await a.log.retire(LANE, 'a.1', TERMS)).toBe(true);
      expect(await a.log.retire(LANE, 'never seen', TERMS)).toBe(true);
      expect(told(await b.take())).toEqual([
        ...['connected about x.1 "ä', 'occupied c', 'disconnected about x.1 "ä node_lost', 'vacated c'],
      ]);
      expect(await a.record(2, [left('c')])).toEqual({ kind: 'retired' });
    });

    test('the hold of a lane ends when it is not renewed', async () => {
      await using opened = await open(['a', 'b']);
      const [a, b] = [opened.users[0]!, opened.users[1]!];
      await a.take('hold', { holdMs: 150 });
      expect(await b.take()).toMatchObject({ isHeld: false });
      opened.cluster.clock.advance(151);
      await vi.waitFor(async () => {
        expect(await b.take()).toMatchObject({ isHeld: true });
      }, WAIT);
      expect(await a.take()).toMatchObject({ isHeld: false });
    });

    test('a full lane takes no more, and says where how many are missing', async () => {
      await using opened = await open(['a']);
      const a = opened.users[0]!;
      const full = { maxEvents: 3 };
      await a.record(1, ['1', '2', '3', '4', '5'].map(connected), full);
      await a.record(2, [disconnected('1')], full);
      const first = await a.take();
      // The lane is as long as the reader says: here there is room again, and the loss comes where it happened.
      expect(told(first)).toEqual([
        ...['connected about 1 "ä', 'connected about 2 "ä', 'connected about 3 "ä', 'lost 3'],
      ]);
      await a.log.acknowledge(
        LANE,
        first.events.map(({ position }) => position),
      );
      await a.record(3, ['6', '7', '8', '9'].map(connected), full);
      const second = await a.take();
      expect(told(second)).toEqual([
        ...['connected about 6 "ä', 'connected about 7 "ä', 'connected about 8 "ä', 'lost 1'],
      ]);
      expect(second.events.at(-1)!.id).not.toBe(first.events.at(-1)!.id);
    });

    test('a broker that is closed or not started rejects', async () => {
      await using cluster = await harness.openCluster();
      const { broker } = await startNode(cluster, 'a');
      await broker.close();
      for (const { lifecycle } of [broker, cluster.createBroker('fresh')]) {
        const { record, take } = createUser(lifecycle, 'a');
        await expect(record(1, [connected('x.1')])).rejects.toThrow(BrokerUnavailableError);
        await expect(take()).rejects.toThrow(BrokerUnavailableError);
        await expect(lifecycle.acknowledge(LANE, ['1-1'])).rejects.toThrow(BrokerUnavailableError);
        await expect(lifecycle.retire(LANE, 'a.1', TERMS)).rejects.toThrow(BrokerUnavailableError);
      }
    });
  });
};
