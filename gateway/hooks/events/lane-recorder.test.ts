// What waits to be written is bounded, and what does not fit is counted.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BrokerUnavailableError } from '../../../broker/broker.ts';
import type { LifecycleChange, LifecycleLog } from '../../../broker/lifecycle.ts';
import { createLaneRecorder } from './lane-recorder.ts';
import { compact } from './pending-changes.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

const setUp = (maxPending = 10) => {
  const written: LifecycleChange[] = [];
  const calls = { record: 0, retired: [] as string[], isAway: false };
  const log: Pick<LifecycleLog, 'record' | 'retire'> = {
    record: ({ changes }) => {
      if (calls.isAway) return Promise.reject(new BrokerUnavailableError('away'));
      calls.record += 1;
      written.push(...changes);
      return Promise.resolve({ kind: 'recorded' });
    },
    retire: (_, life) => {
      if (calls.isAway) return Promise.reject(new BrokerUnavailableError('away'));
      calls.retired.push(life);
      return Promise.resolve(true);
    },
  };
  const recorder = createLaneRecorder({
    log,
    lane: 0,
    holder: 'h',
    nodeName: 'n',
    terms: { leaseMs: 1000, graceMs: 0, maxEvents: 100 },
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
    maxPending,
    onRecorded: () => undefined,
    onError: (error) => expect(error).toBeInstanceOf(BrokerUnavailableError),
  });
  return { recorder, written, calls };
};

describe('a lane recorder', () => {
  it('writes what comes within a moment in one call, and nothing by itself', async () => {
    const { recorder, calls } = setUp();
    recorder.beat();
    await vi.advanceTimersByTimeAsync(100);
    expect(calls.record).toBe(0);
    for (let n = 0; n < 5; n++) void recorder.connected(`first${n}`, '{}');
    await vi.advanceTimersByTimeAsync(1);
    expect(calls.record).toBe(1);
    for (let n = 0; n < 5; n++) {
      void recorder.connected(`second${n}`, '{}');
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(calls.record).toBe(1);
    await vi.advanceTimersByTimeAsync(10);
    expect([calls.record, recorder.unwritten]).toEqual([2, 0]);
  });

  it('keeps no more than what is alive and what was told while the broker is away, and says how much is missing', async () => {
    const { recorder, written, calls } = setUp();
    void recorder.connected('told', '{}');
    await vi.advanceTimersByTimeAsync(1);
    calls.isAway = true;
    recorder.disconnected('told', '1000');
    void recorder.connected('stays', '{}');
    for (let n = 0; n < 500; n++) {
      void recorder.connected(`guest${n}`, '{}');
      recorder.disconnected(`guest${n}`, '1000');
      // Every name is another one, as those of rooms for two.
      recorder.joined(`visited${n}`);
      recorder.left(`visited${n}`);
      expect(recorder.unwritten).toBeLessThan(40);
    }
    calls.isAway = false;
    await vi.advanceTimersByTimeAsync(1000);
    const lost = written.filter((change) => change.kind === 'lost').map(({ detail }) => JSON.parse(detail) as object);
    expect(lost).toHaveLength(1);
    const told = written.filter(({ kind }) => kind !== 'lost');
    expect(lost[0]).toEqual({ count: 2 + 1 + 2000 - told.length, reason: 'overflow', node: 'n' });
    const keys = told.flatMap((change) => ('key' in change ? [change.key] : []));
    expect(keys.slice(0, 3)).toEqual(['told.1', 'told.1', 'stays.1']);
  });

  it('ends its life when it is closed, after what is left, and leaves that to the others when the broker is away', async () => {
    const here = setUp();
    void here.recorder.connected('x', '{}');
    here.recorder.disconnected('x', '1001');
    await here.recorder.close();
    expect([here.written.map(({ kind }) => kind), here.calls.retired]).toEqual([
      ['connected', 'disconnected'],
      ['h.1'],
    ]);
    const away = setUp();
    void away.recorder.connected('x', '{}');
    away.calls.isAway = true;
    await away.recorder.close();
    expect(away.calls.retired).toEqual([]);
  });
});

it('leaving out what came and went tells the same as all of it', () => {
  const names = fc.integer({ min: 0, max: 3 });
  const steps = fc.array(fc.record({ kind: fc.constantFrom('connection', 'channel'), name: names }), { maxLength: 40 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 10 }), (toggles, before) => {
      const open = new Set<string>();
      const made = new Map<string, number>();
      const changes = toggles.map(({ kind, name }): LifecycleChange => {
        const id = `${kind}${name}`;
        const isNew = !open.delete(id);
        if (isNew) open.add(id);
        if (kind === 'channel') return { kind: isNew ? 'joined' : 'left', channel: id, timeMs: 0 };
        made.set(id, (made.get(id) ?? 0) + (isNew ? 1 : 0));
        const key = `${id}.${made.get(id)!}`;
        return isNew
          ? { kind: 'connected', key, timeMs: 0, about: '' }
          : { kind: 'disconnected', key, timeMs: 0, about: '', detail: '' };
      });
      // The first ones are written already.
      const pending = changes.slice(before);
      const { changes: left, dropped } = compact(pending);
      const apply = (all: readonly LifecycleChange[]): string[] => {
        const there = new Set<string>();
        for (const change of all) {
          if (change.kind === 'connected') there.add(change.key);
          else if (change.kind === 'disconnected') there.delete(change.key);
          else if (change.kind === 'joined') there.add(change.channel);
          else if (change.kind === 'left') there.delete(change.channel);
        }
        return [...there].sort();
      };
      expect(apply([...changes.slice(0, before), ...left])).toEqual(apply(changes));
      // Counted is everything that is told of no more: all changes of those of whom nothing is left.
      const nameOf = (change: LifecycleChange) =>
        'key' in change ? change.key : 'channel' in change && change.channel;
      const remaining = new Set(left.map(nameOf));
      expect(dropped).toBe(pending.filter((change) => !remaining.has(nameOf(change))).length);
    }),
  );
});
