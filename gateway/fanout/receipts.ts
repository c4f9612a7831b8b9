// What a page of history means for a cursor: the entries that follow it, receipts for what is missing included. Pure.
import type { ChannelPosition } from '../../broker/broker.ts';
import type { HistoryPage } from '../../broker/history.ts';
import type { GapReceipt, LogEntry } from '../dialects/dialect.ts';
import type { GapReason } from '../../protocol/pushes.ts';

export interface Account {
  /** In order; joined to the cursor without hole or overlap. */
  readonly entries: readonly LogEntry[];
  /** Where the cursor stands after them. */
  readonly position: ChannelPosition;
}

export const gapBetween = (from: number, to: number, reason: GapReason): GapReceipt => ({
  from,
  to,
  count: to - from + 1,
  reason,
});

/** The numbering begins again: nothing is known of what the old one still had. */
export const epochGap = (epoch: string): GapReceipt => ({
  from: null,
  to: null,
  count: null,
  reason: 'epoch',
  epoch,
  offset: 0,
});

/**
 * @param cursor position the page was read after, ascending
 * @param ringStart offset after which the node's own log of this epoch could go on (Infinity: nowhere): what it holds is
 *   not declared missing
 * @param reason why what the page does not hold before its publications is not delivered
 */
export const accountFor = (
  cursor: ChannelPosition,
  page: HistoryPage,
  ringStart: number,
  reason: GapReason = 'expired',
): Account => {
  const { epoch, offset: head } = page.position;
  // Read after an offset of the old life: nothing in the page can be trusted to be the beginning of the new one.
  if (epoch !== cursor.epoch) return { entries: [epochGap(epoch)], position: { epoch, offset: 0 } };
  const entries: LogEntry[] = [];
  let { offset } = cursor;
  const skipTo = (to: number): void => {
    if (to > offset) entries.push(gapBetween(offset + 1, to, reason));
    offset = Math.max(offset, to);
  };
  const first = page.publications[0];
  const missingTo = first === undefined ? head : first.offset - 1;
  skipTo(Math.min(missingTo, ringStart));
  if (offset === missingTo && first !== undefined) {
    entries.push(...page.publications);
    offset = page.publications.at(-1)!.offset;
    // The stream reaches up to the head; if it ever did not, the rest must not be passed over in silence.
    if (!page.more) skipTo(Math.min(head, ringStart));
  }
  return { entries, position: { epoch, offset } };
};
