// Gap arithmetic: what was delivered and what was reported cover everything, once and in order.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Gap, Message } from '../protocol/wire.ts';
import { message, subscribedAt } from '../testing/client-fixture.ts';
import { acceptGap, acceptMessage, type Cursor, jumped, resumed } from './cursor.ts';

const at = (offset: number, epoch = 'e1'): Cursor => ({ epoch, position: { epoch, offset } });
const gap = (from: number | null, to: number | null, more: Partial<Gap> = {}): Gap => ({
  type: 'gap',
  channel: 'news',
  from,
  to,
  count: from === null || to === null ? null : to - from + 1,
  reason: 'expired',
  ...more,
});
const ranges = (gaps: readonly Gap[]): string[] =>
  gaps.map(({ from, to, reason }) => `${String(from)}-${String(to)} ${reason}`);

describe('acceptMessage', () => {
  it('refuses what was accounted for in the same epoch', () => {
    expect(acceptMessage(at(5), message(5)).verdict).toBe('duplicate');
    expect(acceptMessage(at(5), message(1)).verdict).toBe('duplicate');
  });
  it('reports a hole the server kept silent about', () => {
    const step = acceptMessage(at(5), message(9));
    expect(ranges(step.gaps)).toEqual(['6-8 lost']);
    expect(step.cursor.position).toEqual({ epoch: 'e1', offset: 9 });
  });
  it('takes any first offset while no position is known', () => {
    const step = acceptMessage({ epoch: 'e1', position: undefined }, message(40));
    expect(step).toEqual({ cursor: at(40), gaps: [], verdict: 'new' });
  });
  it('reports a new numbering the server sent no receipt for', () => {
    const step = acceptMessage(resumed(at(500), subscribedAt(3, 'e2')), message(2));
    expect(ranges(step.gaps)).toEqual(['null-null epoch']);
    expect(step.cursor).toEqual(at(2, 'e2'));
  });
  it('keeps no position on ephemeral channels', () => {
    const ephemeral: Message = { type: 'message', channel: 'typing', data: null, time: 0 };
    expect(acceptMessage({ epoch: undefined, position: undefined }, ephemeral).cursor.position).toBeUndefined();
  });
});

describe('acceptGap', () => {
  it('drops a receipt for what was accounted for', () => {
    expect(acceptGap(at(9), gap(3, 9))).toEqual({ cursor: at(9), gaps: [], verdict: 'duplicate' });
  });
  it('clips a receipt that overlaps the cursor', () => {
    const step = acceptGap(at(5), gap(3, 9));
    expect(step.gaps).toEqual([gap(6, 9)]);
    expect(step.cursor).toEqual(at(9));
  });
  it('starts over where a new numbering starts', () => {
    const step = acceptGap(at(900), gap(null, null, { reason: 'epoch', epoch: 'e2', offset: 4 }));
    expect(step.cursor).toEqual(at(4, 'e2'));
    expect(acceptMessage(step.cursor, message(5)).gaps).toEqual([]);
  });
  it('hears of a new numbering once, however many connections tell', () => {
    const restart = gap(null, null, { reason: 'epoch', epoch: 'e2', offset: 0 });
    expect(acceptGap(at(3, 'e2'), restart)).toEqual({ cursor: at(3, 'e2'), gaps: [], verdict: 'duplicate' });
  });
  it('passes a receipt without offsets on', () => {
    const dropped = gap(null, null, { reason: 'dropped', count: 3 });
    expect(acceptGap(at(5), dropped)).toEqual({ cursor: at(5), gaps: [dropped], verdict: 'new' });
  });
});

describe('jumped', () => {
  it('reports everything between the cursor and the head', () => {
    expect(ranges(jumped(at(5), subscribedAt(8)).gaps)).toEqual(['6-8 lost']);
  });
  it('reports nothing when the head is the cursor', () => {
    expect(jumped(at(5), subscribedAt(5)).gaps).toEqual([]);
  });
  it('waits for a node that lags behind', () => {
    const step = jumped(at(9), subscribedAt(7));
    expect(step).toEqual({ cursor: at(9), gaps: [], verdict: 'duplicate' });
  });
  it('starts over at the head when the server called a position beyond it impossible', () => {
    const step = jumped(at(9), subscribedAt(7), 'impossible');
    expect(ranges(step.gaps)).toEqual(['null-null epoch']);
    expect(step.cursor).toEqual(at(7));
    expect(ranges(jumped(at(5), subscribedAt(7), 'impossible').gaps)).toEqual(['6-7 lost']);
  });
  it('reports a new epoch with unknown bounds', () => {
    const step = jumped(at(5), subscribedAt(2, 'e2'));
    expect(ranges(step.gaps)).toEqual(['null-null epoch']);
    expect(step.cursor).toEqual(at(2, 'e2'));
  });
});

it('covers every offset exactly once, in order, whatever arrives in whatever order', () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant('message' as const), offset: fc.integer({ min: 1, max: 60 }) }),
    fc.record({
      kind: fc.constant('gap' as const),
      from: fc.integer({ min: 1, max: 60 }),
      length: fc.integer({ min: 1, max: 9 }),
    }),
    fc.record({ kind: fc.constant('jump' as const), head: fc.integer({ min: 0, max: 60 }) }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      let cursor = at(0);
      const covered: number[] = [];
      for (const one of events) {
        const push = one.kind === 'message' ? message(one.offset) : undefined;
        const step =
          one.kind === 'gap'
            ? acceptGap(cursor, gap(one.from, one.from + one.length - 1))
            : push
              ? acceptMessage(cursor, push)
              : jumped(cursor, subscribedAt(one.kind === 'jump' ? one.head : 0));
        for (const { from, to, count } of step.gaps) {
          expect(count).toBe(to! - from! + 1);
          for (let offset = from!; offset <= to!; offset++) covered.push(offset);
        }
        if (push && step.verdict === 'new') covered.push(push.offset!);
        cursor = step.cursor;
      }
      expect(covered).toEqual(Array.from({ length: covered.length }, (_, index) => index + 1));
      expect(cursor.position?.offset).toBe(covered.length);
    }),
  );
});
