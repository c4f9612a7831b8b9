import { describe, expect, it } from 'vitest';
import type { HistoryPage } from '../../broker/history.ts';
import { isGap } from '../dialects/dialect.ts';
import { accountFor } from './receipts.ts';
import { publicationsOf } from './test-subscriber.ts';

const page = (from: number, to: number, head: number, more = false, epoch = 'e'): HistoryPage => ({
  position: { epoch, offset: head },
  publications: publicationsOf(from, to),
  more,
});
const account = (offset: number, read: HistoryPage, ringStart = Infinity): [string[], string] => {
  const { entries, position } = accountFor({ epoch: 'e', offset }, read, ringStart);
  const shown = entries.map((entry) =>
    isGap(entry) ? `${entry.from}-${entry.to} ${entry.reason}` : String(entry.offset),
  );
  return [shown, `${position.epoch}${position.offset}`];
};

describe('a page read after a cursor', () => {
  it.each([
    ['joins', 2, page(3, 5, 5), [['3', '4', '5'], 'e5']],
    ['begins later: what lies between expired', 2, page(5, 6, 6), [['3-4 expired', '5', '6'], 'e6']],
    ['is empty although the channel went on: all of it expired', 2, page(1, 0, 6), [['3-6 expired'], 'e6']],
    ['is empty because there is nothing', 6, page(1, 0, 6), [[], 'e6']],
    ['has a further page', 2, page(3, 4, 9, true), [['3', '4'], 'e4']],
    [
      'ends before the head without a further page: the rest is not passed over',
      2,
      page(3, 4, 6),
      [['3', '4', '5-6 expired'], 'e6'],
    ],
    ['is of another epoch: nothing in it is trusted', 2, page(1, 9, 9, false, 'f'), [['null-null epoch'], 'f0']],
  ] as const)('%s', (_, offset, read, expected) => {
    expect(account(offset, read)).toEqual(expected);
  });

  it.each([
    ['the node holds more than the history', 2, page(9, 9, 9), 4, [['3-4 expired'], 'e4']],
    ['the history is empty and the node holds a part', 2, page(1, 0, 9), 7, [['3-7 expired'], 'e7']],
    ['the history reaches further back', 2, page(3, 5, 9, true), 4, [['3', '4', '5'], 'e5']],
  ] as const)('%s', (_, offset, read, ringStart, expected) => {
    expect(account(offset, read, ringStart)).toEqual(expected);
  });
});
