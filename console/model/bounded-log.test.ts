// The bounded log keeps the newest entries and never loses count.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBoundedLog } from './bounded-log.ts';

const entriesSince = (log: ReturnType<typeof createBoundedLog<string>>, after: number): string[] =>
  log.since(after).map(({ entry }) => entry);

describe('createBoundedLog', () => {
  it('gives nothing while it is empty', () => {
    const log = createBoundedLog<string>(3);
    expect(log.since(0)).toEqual([]);
    expect(log.total).toBe(0);
    expect(log.oldest).toBe(1);
  });

  it('drops the oldest entries beyond its capacity and still counts them', () => {
    const log = createBoundedLog<string>(3);
    for (const entry of 'abcde') log.push(entry);
    expect(log.since(0)).toEqual([
      { sequence: 3, entry: 'c' },
      { sequence: 4, entry: 'd' },
      { sequence: 5, entry: 'e' },
    ]);
    expect(log.total).toBe(5);
    expect(log.oldest).toBe(3);
  });

  it('gives only what came after a sequence', () => {
    const log = createBoundedLog<string>(3);
    for (const entry of 'abcd') log.push(entry);
    expect(entriesSince(log, 3)).toEqual(['d']);
    expect(entriesSince(log, 4)).toEqual([]);
  });

  it('forgets its entries on clear and goes on numbering', () => {
    const log = createBoundedLog<string>(3);
    for (const entry of 'abcd') log.push(entry);
    log.clear();
    expect(log.since(0)).toEqual([]);
    log.push('e');
    expect(log.since(0)).toEqual([{ sequence: 5, entry: 'e' }]);
  });

  it('always holds the tail of what was pushed', () => {
    const values = fc.array(fc.integer(), { maxLength: 40 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), values, fc.nat(45), (capacity, pushed, after) => {
        const log = createBoundedLog<number>(capacity);
        for (const value of pushed) log.push(value);
        const expected = pushed.slice(Math.max(after, pushed.length - capacity));
        expect(log.since(after).map(({ entry }) => entry)).toEqual(expected);
      }),
    );
  });
});
