// Pages of history for those who catch up: bounded, few at a time, and equal questions are asked once.
import { BrokerUnavailableError } from '../../broker/broker.ts';
import type { History, HistoryPage, HistoryStart } from '../../broker/history.ts';
import type { HistoryBounds } from '../../broker/publication.ts';
import type { Clock } from '../clock.ts';

/** How long a page that was read serves others who stand at the same position, ms: clients of a dead node come back within 1 s. */
export const KEEP_MS = 1000;
/** Pages kept, newest first; `maxBytes` bounds each. */
export const MAX_KEPT = 16;

export interface HistoryPagesOptions {
  readonly history: History;
  readonly boundsOf: (channel: string) => HistoryBounds;
  readonly clock: Clock;
  /** Runs a read when its turn comes. */
  readonly limit: <T>(work: () => Promise<T>) => Promise<T>;
  /** Bytes after which a page ends. */
  readonly maxBytes: number;
}

export interface HistoryPages {
  /**
   * Ascending, at most `messages` publications, for a cursor in `epoch`. Shared with whoever asks the same within KEEP_MS,
   * so it may show the channel as it was that long before the call; a page without publications is not kept, since only
   * the channel's present state makes it true. Rejects with `BrokerUnavailableError`.
   */
  read(channel: string, start: HistoryStart, messages: number, epoch: string): Promise<HistoryPage>;
  /** As `read`, of the channel as it is at the call or later. */
  readFresh(channel: string, start: HistoryStart, messages: number): Promise<HistoryPage>;
}

export const createHistoryPages = (options: HistoryPagesOptions): HistoryPages => {
  const { history, boundsOf, clock, limit, maxBytes } = options;
  const pending = new Map<string, Promise<HistoryPage>>();
  /** Oldest first. */
  const kept = new Map<string, { readonly page: HistoryPage; readonly readMs: number }>();

  const readFresh = (channel: string, start: HistoryStart, messages: number): Promise<HistoryPage> =>
    limit(() => history.read({ channel, start, limit: messages, maxBytes, reverse: false, bounds: boundsOf(channel) }));

  const keep = (key: string, page: HistoryPage): void => {
    kept.set(key, { page, readMs: clock.monotonicMs() });
    if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value!);
  };
  const dropStale = (): void => {
    const before = clock.monotonicMs() - KEEP_MS;
    for (const [key, { readMs }] of kept) {
      if (readMs > before) return;
      kept.delete(key);
    }
  };

  return {
    readFresh,
    read(channel, start, messages, epoch) {
      dropStale();
      // With the epoch: who stands in a newer one must not be given a page from before it began.
      const key = JSON.stringify([channel, epoch, start, messages]);
      const known = kept.get(key);
      if (known !== undefined) return Promise.resolve(known.page);
      const asked = pending.get(key);
      if (asked !== undefined) return asked;
      // Thousands come back at one position when a node dies: they cost one read and, as one object, one encoding.
      const read = readFresh(channel, start, messages)
        .then((page) => {
          if (start.kind === 'after' && page.publications.length > 0) keep(key, page);
          return page;
        })
        .finally(() => pending.delete(key));
      pending.set(key, read);
      return read;
    },
  };
};

export const isOutage = (error: unknown): boolean => error instanceof BrokerUnavailableError;
