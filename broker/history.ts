// The contract for reading a channel's log: positions and pages of publications. Reads never share a connection with publishes or deliveries.
import type { ChannelPosition, HistoryBounds, Publication } from './publication.ts';

/**
 * - `after`: the oldest publications with offset > `offset`, ascending (with `reverse`: the newest with offset < `offset`, descending).
 * - `earliest`: from the oldest kept, ascending (with `reverse`: from the newest, descending).
 * - `last`: the newest `count`, ascending (with `reverse`: descending).
 */
export type HistoryStart =
  | { readonly kind: 'after'; readonly offset: number }
  | { readonly kind: 'earliest' }
  | { readonly kind: 'last'; readonly count: number };

export interface HistoryQuery {
  readonly channel: string;
  readonly start: HistoryStart;
  /** Most publications in the page, at least 1. A driver may end a page early, never empty, to bound its bytes: `more` tells. */
  readonly limit: number;
  /** Bytes after which the page ends, never empty; a driver has a bound of its own as well. */
  readonly maxBytes?: number;
  readonly reverse: boolean;
  /** Publications beyond the size or older than the time to live are not returned, even when still stored. */
  readonly bounds: HistoryBounds;
}

export interface HistoryPage {
  /** Head of the channel at the moment of the read (one atomic step with the page). */
  readonly position: ChannelPosition;
  /** Contiguous offsets in the asked order; what is missing towards `start` is expired. */
  readonly publications: readonly Publication[];
  /** True when a further page exists in the asked direction (with `last`, among the newest `count`). */
  readonly more: boolean;
}

export interface History {
  /**
   * Rejects with `BrokerUnavailableError`. A channel never published to has a position too: its epoch is created by the read and
   * lives an hour unless a publication follows. A read never changes the life of a numbering that exists.
   */
  read(query: HistoryQuery): Promise<HistoryPage>;
  /** Heads of many channels in one round trip, in the order asked. Creates epochs like `read`. */
  positions(channels: readonly string[]): Promise<ChannelPosition[]>;
}
