// The publications one channel still keeps, and the page a history query selects from them.
import type { HistoryQuery } from '../history.ts';
import type { HistoryBounds, Publication } from '../publication.ts';

/** Trimmed publications stay referenced until they are as many as the kept ones and at least this many. */
const COMPACT_AT = 64;

export interface KeptLog {
  append(publication: Publication, bounds: HistoryBounds, nowMs: number): void;
  clear(): void;
  /** `more` and the bounds as in `HistoryPage` and `HistoryQuery`. */
  select(
    query: HistoryQuery,
    headOffset: number,
    nowMs: number,
  ): { readonly publications: Publication[]; readonly more: boolean };
}

/** Up to the publication that fills the bound, at least one. */
const withinBytes = (page: Publication[], maxBytes = Infinity): Publication[] => {
  let bytes = 0;
  const last = page.findIndex(({ bodyBytes }) => (bytes += bodyBytes) >= maxBytes);
  return last === -1 ? page : page.slice(0, last + 1);
};

export const createKeptLog = (): KeptLog => {
  // Offsets are contiguous: kept[i].offset === kept[first].offset + (i - first).
  let kept: Publication[] = [];
  let first = 0;

  const trim = (bounds: HistoryBounds, nowMs: number): void => {
    first = Math.max(first, kept.length - bounds.size);
    const oldestMs = nowMs - bounds.ttlMs;
    while (first < kept.length && kept[first]!.timeMs < oldestMs) first += 1;
    if (first >= COMPACT_AT && first * 2 >= kept.length) {
      kept = kept.slice(first);
      first = 0;
    }
  };

  /** First index not older than the bound; nodes' clocks may differ, so times only nearly ascend. */
  const firstNotOlderThan = (oldestMs: number): number => {
    let low = first;
    let high = kept.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (kept[middle]!.timeMs < oldestMs) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  const indexOf = (offset: number): number => first + (offset - kept[first]!.offset);

  return {
    append(publication, bounds, nowMs) {
      kept.push(publication);
      trim(bounds, nowMs);
    },
    clear() {
      kept = [];
      first = 0;
    },
    select({ start, limit, maxBytes, reverse, bounds }, headOffset, nowMs) {
      if (first === kept.length) return { publications: [], more: false };
      let low = Math.max(firstNotOlderThan(nowMs - bounds.ttlMs), indexOf(headOffset - bounds.size + 1));
      let end = kept.length;
      if (start.kind === 'last') low = Math.max(low, indexOf(headOffset - start.count + 1));
      else if (start.kind === 'after' && reverse) end = Math.min(end, indexOf(start.offset));
      else if (start.kind === 'after') low = Math.max(low, indexOf(start.offset + 1));
      if (low >= end) return { publications: [], more: false };
      const page = reverse
        ? kept.slice(Math.max(low, end - limit), end).reverse()
        : kept.slice(low, Math.min(end, low + limit));
      const publications = withinBytes(page, maxBytes);
      return { publications, more: end - low > publications.length };
    },
  };
};
