// What pages of history cost that were read and wait for their turn: each counts once, however many wait for it.
import type { HistoryPage } from '../../broker/history.ts';

export interface PageAccount {
  /** A subscription keeps the page until its turn. */
  hold(page: HistoryPage): void;
  /** One that kept it lets go. */
  release(page: HistoryPage): void;
}

export const createPageAccount = (onCharged: (bytes: number) => void): PageAccount => {
  const held = new Map<HistoryPage, { bytes: number; holders: number }>();
  return {
    hold(page) {
      const known = held.get(page);
      if (known !== undefined) {
        known.holders++;
        return;
      }
      const bytes = page.publications.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
      held.set(page, { bytes, holders: 1 });
      onCharged(bytes);
    },
    release(page) {
      const known = held.get(page);
      if (known === undefined || --known.holders > 0) return;
      held.delete(page);
      onCharged(-known.bytes);
    },
  };
};
