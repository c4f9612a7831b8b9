// Tests of the offset judge: one that overlooks a loss would make every load test green.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createContiguityTracker } from './contiguity.ts';

describe('contiguity tracker', () => {
  it('counts a skipped offset as missing until it arrives', () => {
    const tracker = createContiguityTracker(10);
    expect(tracker.accept(11)).toBe('in-order');
    expect(tracker.accept(13)).toBe('ahead');
    expect(tracker.report(13)).toMatchObject({ received: 2, missing: 1, reordered: 0 });
    expect(tracker.isComplete(13)).toBe(false);
  });

  it('tells a late message from a repeated one', () => {
    const tracker = createContiguityTracker(0);
    tracker.accept(2);
    expect(tracker.accept(1)).toBe('reordered');
    expect(tracker.accept(1)).toBe('duplicate');
    expect(tracker.report(2)).toEqual({ received: 2, duplicate: 1, reordered: 1, receipted: 0, missing: 0 });
  });

  it('counts messages from before the subscription as duplicates', () => {
    const tracker = createContiguityTracker(5);
    expect(tracker.accept(5)).toBe('duplicate');
  });

  it('counts the tail that never arrived when the end of the channel is known', () => {
    const tracker = createContiguityTracker(0);
    tracker.accept(1);
    expect(tracker.report(4).missing).toBe(3);
  });

  it('does not count a receipted range as missing', () => {
    const tracker = createContiguityTracker(0);
    tracker.accept(1);
    tracker.acceptGap(2, 4);
    expect(tracker.accept(5)).toBe('in-order');
    expect(tracker.report(5)).toEqual({ received: 2, duplicate: 0, reordered: 0, receipted: 3, missing: 0 });
  });

  it('keeps the offsets before a receipt that starts too late as missing', () => {
    const tracker = createContiguityTracker(0);
    tracker.acceptGap(3, 4);
    expect(tracker.report(4)).toMatchObject({ receipted: 2, missing: 2 });
  });

  it('ignores holes beyond the known end', () => {
    const tracker = createContiguityTracker(0);
    tracker.accept(1);
    tracker.accept(3);
    expect(tracker.report(1).missing).toBe(0);
  });

  it('keeps what was missing before a change of epoch as missing', () => {
    const tracker = createContiguityTracker(0);
    tracker.accept(2);
    tracker.restart(7);
    expect(tracker.accept(8)).toBe('in-order');
    expect(tracker.report(8).missing).toBe(1);
    expect(tracker.isComplete(8)).toBe(false);
  });

  it('accounts for every offset whatever the order, losses, repetitions and receipts', () => {
    const fate = fc.constantFrom('once', 'twice', 'lost', 'receipted');
    fc.assert(
      fc.property(fc.array(fate, { maxLength: 60 }), fc.infiniteStream(fc.nat(1000)), (fates, random) => {
        const arrivals = fates.flatMap((kind, index) => {
          const offset = index + 1;
          if (kind === 'lost') return [];
          return kind === 'twice' ? [offset, offset] : [offset];
        });
        const shuffled = arrivals
          .map((offset) => ({ offset, rank: Number(random.next().value) }))
          .sort((left, right) => left.rank - right.rank);
        const tracker = createContiguityTracker(0);
        for (const { offset } of shuffled) {
          if (fates[offset - 1] === 'receipted') tracker.acceptGap(offset, offset);
          else tracker.accept(offset);
        }
        const count = (kind: string): number => fates.filter((each) => each === kind).length;
        expect(tracker.report(fates.length)).toMatchObject({
          received: count('once') + count('twice'),
          duplicate: count('twice'),
          receipted: count('receipted'),
          missing: count('lost'),
        });
      }),
    );
  });
});
