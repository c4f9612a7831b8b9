import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isGap, type LogEntry } from '../dialects/dialect.ts';
import { ChannelLog } from './channel-log.ts';
import { publicationsOf } from './test-subscriber.ts';

const run = (from: number, to: number, epoch = 'e') => ({
  channel: 'c',
  epoch,
  publications: publicationsOf(from, to),
});

const opened = (offset = 0): ChannelLog => {
  const log = new ChannelLog();
  log.open({ epoch: 'e', offset });
  return log;
};

/** Offsets covered by the entries of one epoch, in order. */
const covered = (entries: readonly LogEntry[]): number[] =>
  entries.flatMap((entry) => {
    if (!isGap(entry)) return [entry.offset];
    const { from, to } = entry;
    return from === null || to === null ? [] : Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });

describe('a channel log', () => {
  it('refuses a run that starts beyond the head and leaves itself as it was', () => {
    const log = opened(3);
    expect(log.append(run(5, 6))).toBe('hole');
    expect(log.head).toBe(3);
    expect(log.read(log.firstSeq)).toEqual([]);
  });

  it('refuses a run of another epoch', () => {
    expect(opened(3).append(run(4, 4, 'other'))).toBe('other-epoch');
  });

  it('knows a run it already has', () => {
    const log = opened(3);
    expect(log.append(run(2, 3))).toBe('known');
    expect(log.append(run(1, 1))).toBe('known');
  });

  it('takes only the new part of an overlapping run', () => {
    const log = opened(3);
    expect(log.append(run(2, 5))).toBe('appended');
    expect(covered(log.read(0))).toEqual([4, 5]);
    expect(log.head).toBe(5);
    expect(log.nextSeq).toBe(2);
  });

  it('refuses to read below its tail', () => {
    const log = opened();
    log.append(run(1, 3));
    log.trim(2, 0);
    expect(() => log.read(1)).toThrow(RangeError);
    expect(covered(log.read(2))).toEqual([3]);
  });

  it('keeps cursors comparable across a change of epoch', () => {
    const log = opened(7);
    log.append(run(8, 8));
    log.changeEpoch({ epoch: 'f', offset: 0 }, null);
    log.append(run(1, 2, 'f'));
    const [, receipt, ...rest] = log.read(0);
    expect(receipt).toEqual({ from: null, to: null, count: null, reason: 'epoch', epoch: 'f', offset: 0 });
    expect(covered(rest)).toEqual([1, 2]);
    expect(log.nextSeq).toBe(4);
  });

  it('covers every offset exactly once, in order, whatever runs and losses arrive (rule G1)', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('run' as const),
        from: fc.integer({ min: 1, max: 40 }),
        length: fc.integer({ min: 0, max: 6 }),
      }),
      fc.record({ kind: fc.constant('lose' as const), to: fc.integer({ min: 0, max: 40 }) }),
      fc.record({ kind: fc.constant('forget' as const), seq: fc.integer({ min: 0, max: 40 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const log = opened();
        const seen: number[] = [];
        let cursor = 0;
        for (const action of steps) {
          if (action.kind === 'run') log.append(run(action.from, action.from + action.length - 1));
          else if (action.kind === 'lose') log.lose(action.to, 'lost');
          else log.trim(Math.min(action.seq, cursor), 0);
          const entries = log.read(cursor);
          expect(entries.length).toBe(log.nextSeq - cursor);
          seen.push(...covered(entries));
          cursor = log.nextSeq;
        }
        expect(seen).toEqual(Array.from({ length: log.head }, (_, index) => index + 1));
      }),
    );
  });

  it('finds the cursor of every position it still holds, and of no other', () => {
    const log = opened(10);
    log.append(run(11, 13));
    log.lose(16, 'lost');
    log.append(run(17, 20));
    const found = Array.from({ length: 12 }, (_, index) => log.seqAfter({ epoch: 'e', offset: 10 + index }));
    // 14 and 15 lie inside the receipt, 21 is ahead of the head.
    expect(found).toEqual([0, 1, 2, 3, undefined, undefined, 4, 5, 6, 7, 8, undefined]);
    expect(log.seqAfter({ epoch: 'e', offset: 9 })).toBeUndefined();
    expect(log.seqAfter({ epoch: 'other', offset: 12 })).toBeUndefined();
    for (const seq of [0, 1, 2, 3, 4, 5, 6, 7, 8]) expect(log.seqAfter(log.positionAt(seq))).toBe(seq);
  });

  it('knows where each cursor stands across a change of epoch and after a trim', () => {
    const log = opened(7);
    log.append(run(8, 9));
    log.changeEpoch({ epoch: 'f', offset: 0 }, null);
    log.append(run(1, 2, 'f'));
    const positions = () =>
      Array.from({ length: log.nextSeq - log.firstSeq + 1 }, (_, index) => {
        const { epoch, offset } = log.positionAt(log.firstSeq + index);
        return `${epoch}${offset}`;
      });
    expect(positions()).toEqual(['e7', 'e8', 'e9', 'f0', 'f1', 'f2']);
    log.trim(2, 0);
    expect(positions()).toEqual(['e9', 'f0', 'f1', 'f2']);
    log.trim(4, 0);
    expect(positions()).toEqual(['f1', 'f2']);
    expect(log.seqAfter({ epoch: 'f', offset: 1 })).toBe(4);
    expect(log.seqAfter({ epoch: 'f', offset: 0 })).toBeUndefined();
  });

  it('keeps what fits into its bound, and nothing of it for longer than asked', () => {
    const log = opened();
    log.append(run(1, 1000));
    log.trim(1000, 10_000);
    expect(log.bytes).toBeLessThanOrEqual(10_000);
    expect(log.bytes).toBeGreaterThan(9_000);
    expect(covered(log.read(log.firstSeq)).at(-1)).toBe(1000);
    log.expire(1000, 2);
    expect([log.bytes, log.firstSeq]).toEqual([0, 1000]);
  });
});
