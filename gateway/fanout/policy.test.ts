import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isGap, type LogEntry } from '../dialects/dialect.ts';
import { applyPolicy } from './policy.ts';
import { gapBetween } from './receipts.ts';

const publication = (offset: number, key?: string): LogEntry => ({
  offset,
  key,
  timeMs: 1,
  body: Buffer.from('{}'),
  bodyBytes: 2,
});
/** `5` for a publication, `5-7 reason` for a receipt. */
const shown = (entries: readonly LogEntry[]): string[] =>
  entries.map((entry) => (isGap(entry) ? `${entry.from}-${entry.to} ${entry.reason}` : String(entry.offset)));

describe('a backlog under a policy', () => {
  it('all and ack: everything stays', () => {
    const backlog = [publication(1), gapBetween(2, 3, 'lost'), publication(4)];
    expect(applyPolicy('all', backlog)).toEqual(backlog);
    expect(applyPolicy('ack', backlog)).toEqual(backlog);
  });

  it('latest: the newest, and a receipt for the rest', () => {
    const backlog = [publication(1), publication(2), publication(3)];
    expect(shown(applyPolicy('latest', backlog))).toEqual(['1-2 conflated', '3']);
  });

  it('latest: what was lost stays lost and is not called conflated', () => {
    const backlog = [publication(1), gapBetween(2, 3, 'lost'), publication(4), publication(5)];
    expect(shown(applyPolicy('latest', backlog))).toEqual(['1-1 conflated', '2-3 lost', '4-4 conflated', '5']);
  });

  it('conflate: the newest of each key at its place, publications without a key all', () => {
    const backlog = [
      publication(1, 'a'),
      publication(2, 'b'),
      publication(3),
      publication(4, 'a'),
      publication(5, 'c'),
    ];
    expect(shown(applyPolicy('conflate', backlog))).toEqual(['1-1 conflated', '2', '3', '4', '5']);
  });

  it('covers every offset once, in order, whatever the policy (rule G1)', () => {
    const lengths = fc.array(
      fc.record({ gap: fc.integer({ min: 0, max: 3 }), key: fc.constantFrom('a', 'b', undefined) }),
    );
    fc.assert(
      fc.property(lengths, fc.constantFrom('all' as const, 'latest' as const, 'conflate' as const), (steps, policy) => {
        let offset = 0;
        const backlog = steps.flatMap(({ gap, key }) => {
          const lost = gap === 0 ? [] : [gapBetween(offset + 1, offset + gap, 'lost')];
          offset += gap + 1;
          return [...lost, publication(offset, key)];
        });
        let next = 1;
        for (const entry of applyPolicy(policy, backlog)) {
          expect(isGap(entry) ? entry.from : entry.offset).toBe(next);
          next = (isGap(entry) ? entry.to! : entry.offset) + 1;
        }
        expect(next).toBe(offset + 1);
      }),
    );
  });
});
