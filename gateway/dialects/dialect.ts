// The contract of a dialect: how one audience spells frames. Pure functions, no state of channels or connections.
//
// - Decoding never throws: whatever arrives becomes commands or typed problems.
// - `encodeBatch` is on the hot path: it is called once per channel, flush and dialect, and its result is shared by all
//   sockets that stand at the same cursor. It must not parse the bodies it is given.
import type { Publication } from '../../broker/publication.ts';
import type { ErrorName } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import type { GapReason, Push } from '../../protocol/pushes.ts';
import type { Reply, ReplyOf } from '../../protocol/replies.ts';
import type { StoredHistory } from './history-page.ts';

/** Offsets that a subscription will never get, and why. Null when unknown, as after a change of epoch. */
export interface GapReceipt {
  readonly from: number | null;
  readonly to: number | null;
  readonly count: number | null;
  readonly reason: GapReason;
  /** The position from which numbering goes on, when the epoch changed. */
  readonly epoch?: string;
  readonly offset?: number;
}

/** What a cursor meets in a channel log: a publication, or the receipt for missing ones. */
export type LogEntry = Publication | GapReceipt;

export const isGap = (entry: LogEntry): entry is GapReceipt => 'reason' in entry;

export type Decoded =
  | { readonly kind: 'command'; readonly command: Command }
  | { readonly kind: 'error'; readonly id?: number | undefined; readonly error: ErrorName; readonly message: string };

/** A `history` reply whose messages are still as the log holds them. */
export interface HistoryReply {
  readonly type: 'history';
  readonly id?: ReplyOf<'history'>['id'];
  readonly page: StoredHistory;
}

/** What a connection is sent beside the batches of its channels. */
export type Outgoing = Exclude<Reply, { type: 'history' }> | HistoryReply | Push;

export interface Dialect {
  readonly name: string;
  /** Commands of one text frame, in order. */
  decode(frame: string): readonly Decoded[];
  /** One reply or push as a frame of its own; a `Buffer` holds UTF-8. */
  encode(message: Outgoing): string | Buffer;
  /**
   * Consecutive entries of one channel as frames of bounded size, in order. Never empty for a non-empty batch. Offset 0 is none: the
   * channel is ephemeral, and its messages carry no position.
   */
  encodeBatch(channel: string, entries: readonly LogEntry[]): readonly Buffer[];
}
