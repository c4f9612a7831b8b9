// Pages of history for those who catch up: bounded, few at a time, and equal questions in flight are asked once.
import { BrokerUnavailableError } from '../../broker/broker.ts';
import type { History, HistoryPage, HistoryStart } from '../../broker/history.ts';
import type { HistoryBounds } from '../../broker/publication.ts';

export interface HistoryPagesOptions {
  readonly history: History;
  readonly boundsOf: (channel: string) => HistoryBounds;
  /** Runs a read when its turn comes. */
  readonly limit: <T>(work: () => Promise<T>) => Promise<T>;
  /** Bytes after which a page ends. */
  readonly maxBytes: number;
}

export interface HistoryPages {
  /**
   * Ascending, at most `messages` publications; shared with whoever asks the same before the answer is there, so it may show
   * the channel as it was shortly before the call. Rejects with `BrokerUnavailableError`.
   */
  read(channel: string, start: HistoryStart, messages: number): Promise<HistoryPage>;
  /** As `read`, of the channel as it is at the call or later. */
  readFresh(channel: string, start: HistoryStart, messages: number): Promise<HistoryPage>;
}

export const createHistoryPages = ({ history, boundsOf, limit, maxBytes }: HistoryPagesOptions): HistoryPages => {
  const reads = new Map<string, Promise<HistoryPage>>();
  const readFresh = (channel: string, start: HistoryStart, messages: number): Promise<HistoryPage> =>
    limit(() => history.read({ channel, start, limit: messages, maxBytes, reverse: false, bounds: boundsOf(channel) }));
  return {
    readFresh,
    read(channel, start, messages) {
      const key = JSON.stringify([channel, start, messages]);
      const known = reads.get(key);
      if (known !== undefined) return known;
      // Thousands come back at one position when a node dies: they cost one read and, as one object, one encoding.
      const read = readFresh(channel, start, messages).finally(() => reads.delete(key));
      reads.set(key, read);
      return read;
    },
  };
};

export const isOutage = (error: unknown): boolean => error instanceof BrokerUnavailableError;
