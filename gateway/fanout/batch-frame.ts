// The frames of one flush of one channel: encoded once per dialect and cursor, shared by every socket that stands there.
import { type Dialect, isGap, type LogEntry } from '../dialects/dialect.ts';
import { type ChannelLog, fitting } from './channel-log.ts';

/** Encoded frames for one cursor and dialect. */
export interface EncodedBatch {
  readonly frames: readonly Buffer[];
  /** Publications inside. */
  readonly messages: number;
  readonly bytes: number;
}

export class BatchFrame {
  readonly fromSeq: number;
  readonly toSeq: number;
  /** There was more in the log than fits. */
  readonly isFull: boolean;
  private readonly channel: string;
  private readonly log: ChannelLog;
  private readonly entries: readonly LogEntry[];
  /** The usual case, kept apart from the map: all sockets at `fromSeq` with one dialect. */
  private commonDialect: Dialect | null = null;
  private common: EncodedBatch | null = null;
  private others: Map<Dialect, Map<number, EncodedBatch>> | null = null;

  /** What follows `fromSeq` in the log, as far as it fits into `maxBytes` as the log counts them, at least one entry. */
  constructor(channel: string, log: ChannelLog, fromSeq: number, maxBytes: number) {
    this.channel = channel;
    this.fromSeq = fromSeq;
    this.log = log;
    this.entries = fitting(log.read(fromSeq), maxBytes, Infinity);
    this.toSeq = fromSeq + this.entries.length;
    this.isFull = this.toSeq < log.nextSeq;
  }

  /** Entries from `cursor` (kept by the log, below `toSeq`) to `toSeq`. */
  encodedFor(dialect: Dialect, cursor: number): EncodedBatch {
    if (cursor === this.fromSeq && dialect === this.commonDialect && this.common !== null) return this.common;
    return this.encodeOther(dialect, cursor);
  }

  private encodeOther(dialect: Dialect, cursor: number): EncodedBatch {
    if (cursor === this.fromSeq && this.commonDialect === null) {
      this.commonDialect = dialect;
      this.common = this.encode(dialect, cursor);
      return this.common;
    }
    this.others ??= new Map();
    let byCursor = this.others.get(dialect);
    if (byCursor === undefined) this.others.set(dialect, (byCursor = new Map<number, EncodedBatch>()));
    let encoded = byCursor.get(cursor);
    if (encoded === undefined) byCursor.set(cursor, (encoded = this.encode(dialect, cursor)));
    return encoded;
  }

  private encode(dialect: Dialect, cursor: number): EncodedBatch {
    const entries = cursor === this.fromSeq ? this.entries : this.log.read(cursor, this.toSeq);
    const frames = dialect.encodeBatch(this.channel, entries);
    let bytes = 0;
    for (const frame of frames) bytes += frame.length;
    let messages = 0;
    for (const entry of entries) if (!isGap(entry)) messages++;
    return { frames, messages, bytes };
  }

  /** Unix time of the oldest publication inside, ms; undefined when there are only receipts. */
  get oldestTimeMs(): number | undefined {
    for (const entry of this.entries) if (!isGap(entry)) return entry.timeMs;
    return undefined;
  }
}
