// The frames of a page of history, encoded once for all who are sent the same of it: thousands, after a node died.
import type { HistoryPage } from '../../broker/history.ts';
import { type Dialect, isGap, type LogEntry } from '../dialects/dialect.ts';

interface Encoded {
  readonly dialect: Dialect;
  readonly entries: readonly LogEntry[];
  readonly frames: readonly Buffer[];
}

/** Publications of one page are the same objects for everybody; receipts are made for each cursor. */
const isSame = (a: LogEntry, b: LogEntry): boolean =>
  a === b || (isGap(a) && isGap(b) && a.reason === b.reason && a.from === b.from && a.to === b.to);

const areSame = (a: readonly LogEntry[], b: readonly LogEntry[]): boolean =>
  a.length === b.length && a.every((entry, index) => isSame(entry, b[index]!));

/** Remembers the newest encoding of each page, as long as the page itself lives. */
export const createPageEncoder = (): ((
  channel: string,
  dialect: Dialect,
  page: HistoryPage,
  entries: readonly LogEntry[],
) => readonly Buffer[]) => {
  const encoded = new WeakMap<HistoryPage, Encoded>();
  return (channel, dialect, page, entries) => {
    const known = encoded.get(page);
    if (known?.dialect === dialect && areSame(known.entries, entries)) return known.frames;
    const frames = dialect.encodeBatch(channel, entries);
    encoded.set(page, { dialect, entries, frames });
    return frames;
  };
};
