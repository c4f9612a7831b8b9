// What a subscription that is behind receives of its backlog, per policy. Pure: entries in, entries out.
//
// Whatever is left out becomes a receipt with reason `conflated`; receipts for other reasons stay as they are, so offsets
// and ranges still join without hole or overlap.
import type { Publication } from '../../broker/publication.ts';
import { type GapReceipt, isGap, type LogEntry } from '../dialects/dialect.ts';
import { gapBetween } from './receipts.ts';

export type DeliveryPolicy = 'all' | 'latest' | 'conflate' | 'ack';

/** Keeps the publications in `kept`, turns runs of others into receipts. */
const keepOnly = (entries: readonly LogEntry[], kept: ReadonlySet<Publication>): readonly LogEntry[] => {
  const result: LogEntry[] = [];
  let skipped: GapReceipt | undefined;
  const closeRun = (): void => {
    if (skipped !== undefined) result.push(skipped);
    skipped = undefined;
  };
  for (const entry of entries) {
    if (isGap(entry) || kept.has(entry)) {
      closeRun();
      result.push(entry);
    } else skipped = gapBetween(skipped?.from ?? entry.offset, entry.offset, 'conflated');
  }
  closeRun();
  return result;
};

const publicationsOf = (entries: readonly LogEntry[]): Publication[] =>
  entries.filter((entry): entry is Publication => !isGap(entry));

/** Only the newest. */
const latest = (entries: readonly LogEntry[]): readonly LogEntry[] =>
  keepOnly(entries, new Set(publicationsOf(entries).slice(-1)));

/** The newest of every key, at its place; publications without a key stand for nothing but themselves and stay. */
const conflate = (entries: readonly LogEntry[]): readonly LogEntry[] => {
  const publications = publicationsOf(entries);
  const newest = new Map(publications.map((publication) => [publication.key, publication]));
  return keepOnly(
    entries,
    new Set(
      publications.filter(
        (publication) => publication.key === undefined || newest.get(publication.key) === publication,
      ),
    ),
  );
};

/** `all` and `ack` leave nothing out. */
export const applyPolicy = (policy: DeliveryPolicy, entries: readonly LogEntry[]): readonly LogEntry[] => {
  switch (policy) {
    case 'latest':
      return latest(entries);
    case 'conflate':
      return conflate(entries);
    case 'all':
    case 'ack':
      return entries;
  }
};
