// The tail of one channel as this node knows it: entries in order, each at a sequence number that cursors point to.
//
// Invariant (rule G1): read upwards, offsets of publications and ranges of gap receipts join without hole or overlap
// inside an epoch. `append` refuses what would break that; the caller heals first.
// Sequence numbers are local to the node and never restart, so a cursor stays comparable when the epoch changes.
// What every live cursor has passed stays as the *ring* until it is trimmed: slow sockets, reconnecting clients and a
// master that lost its newest publications read it there.
import type { ChannelPosition, PublicationRun } from '../../broker/broker.ts';
import type { Publication } from '../../broker/publication.ts';
import type { GapReason } from '../../protocol/pushes.ts';
import { isGap, type LogEntry } from '../dialects/dialect.ts';

export type AppendOutcome =
  | 'appended'
  /** Everything in the run was here already. */
  | 'known'
  /** The run starts beyond head + 1: publications in between were missed. Nothing was appended. */
  | 'hole'
  /** The run belongs to another life of the numbering. Nothing was appended. */
  | 'other-epoch';

/** What an entry costs beside its body, bytes: the objects that hold it. */
const ENTRY_BYTES = 128;
/** A ring is cut when it is this much over its bound, so that a busy channel does not pay for every publication. */
const TRIM_SLACK = 1.25;

const entryBytes = (entry: LogEntry): number => (isGap(entry) ? ENTRY_BYTES : entry.bodyBytes + ENTRY_BYTES);

/** Offset at which a cursor stands that has passed this entry. */
export const endOf = (entry: LogEntry): number => (isGap(entry) ? (entry.to ?? entry.offset ?? 0) : entry.offset);

/** As many entries as fit into `maxBytes` and `maxMessages`, at least one. */
export const fitting = (entries: readonly LogEntry[], maxBytes: number, maxMessages: number): readonly LogEntry[] => {
  let bytes = 0;
  let messages = 0;
  const end = entries.findIndex((entry, index) => {
    bytes += entryBytes(entry);
    if (!isGap(entry)) messages++;
    return index > 0 && (bytes > maxBytes || messages > maxMessages);
  });
  return end === -1 ? entries : entries.slice(0, end);
};

export class ChannelLog {
  epoch = '';
  /** Offset of the newest publication, or of the newest one declared missing. */
  head = 0;
  /** Sequence number the next entry will get. A cursor equal to it is live. */
  nextSeq = 0;
  /** What the kept entries cost, bytes. */
  bytes = 0;
  /** What all entries cost that were ever appended, bytes. */
  appendedBytes = 0;
  private entries: LogEntry[] = [];
  /** Cursors from here on stand in the present epoch: no need to look for its receipt in a long ring. */
  private epochSeq = 0;
  /** Where a cursor stands that has passed everything before the oldest entry kept. */
  private tail: ChannelPosition = { epoch: '', offset: 0 };

  /** Adopts a position without a receipt: for a log nobody reads yet. */
  open(position: ChannelPosition): void {
    this.epoch = position.epoch;
    this.head = position.offset;
    this.tail = position;
  }

  append(run: PublicationRun): AppendOutcome {
    if (run.epoch !== this.epoch) return 'other-epoch';
    const first = run.publications[0];
    const last = run.publications.at(-1);
    if (first === undefined || last === undefined || last.offset <= this.head) return 'known';
    if (first.offset > this.head + 1) return 'hole';
    for (let index = this.head + 1 - first.offset; index < run.publications.length; index++) {
      this.push(run.publications[index]!);
    }
    this.head = last.offset;
    return 'appended';
  }

  /** Declares everything after head up to and including `to` missing. Returns how many offsets that are. */
  lose(to: number, reason: GapReason): number {
    const count = to - this.head;
    if (count <= 0) return 0;
    this.push({ from: this.head + 1, to, count, reason });
    this.head = to;
    return count;
  }

  /**
   * Starts another life of the numbering at `position`. `lost` is what the old one still had for its readers: 0 when it
   * certainly had nothing, null when that is unknown.
   */
  changeEpoch(position: ChannelPosition, lost: 0 | null): void {
    this.push({ from: null, to: null, count: lost, reason: 'epoch', ...position });
    this.epochSeq = this.nextSeq;
    this.epoch = position.epoch;
    this.head = position.offset;
  }

  private push(entry: LogEntry): void {
    this.entries.push(entry);
    const bytes = entryBytes(entry);
    this.bytes += bytes;
    this.appendedBytes += bytes;
    this.nextSeq += 1;
  }

  /** Sequence number of the oldest entry kept. */
  get firstSeq(): number {
    return this.nextSeq - this.entries.length;
  }

  /** Where a cursor at `firstSeq` stands. */
  get firstPosition(): ChannelPosition {
    return this.tail;
  }

  /** Entries from cursor `fromSeq` (inclusive) to `toSeq`; the cursor must not be below `firstSeq`. */
  read(fromSeq: number, toSeq = this.nextSeq): readonly LogEntry[] {
    if (fromSeq < this.firstSeq) throw new RangeError(`cursor ${fromSeq} is below the tail ${this.firstSeq}`);
    return this.entries.slice(fromSeq - this.firstSeq, toSeq - this.firstSeq);
  }

  /** Where a cursor at `seq` stands: everything before it was delivered or reported. */
  positionAt(seq: number): ChannelPosition {
    if (seq === this.nextSeq) return { epoch: this.epoch, offset: this.head };
    if (seq < this.firstSeq) throw new RangeError(`cursor ${seq} is below the tail ${this.firstSeq}`);
    if (seq === this.firstSeq) return this.tail;
    const index = seq - 1 - this.firstSeq;
    const epoch = seq >= this.epochSeq ? this.epoch : this.epochAt(index);
    return { epoch, offset: endOf(this.entries[index]!) };
  }

  private epochAt(index: number): string {
    for (let at = index; at >= 0; at--) {
      const entry = this.entries[at]!;
      if (isGap(entry) && entry.epoch !== undefined) return entry.epoch;
    }
    return this.tail.epoch;
  }

  /**
   * The cursor that stands at `position`; undefined when the log does not hold what follows it: too old, ahead of the
   * head, of another epoch than the present, or inside a receipt.
   */
  seqAfter({ epoch, offset }: ChannelPosition): number | undefined {
    if (epoch !== this.epoch || offset > this.head) return undefined;
    if (offset === this.head) return this.nextSeq;
    let low = Math.max(0, this.epochSeq - this.firstSeq);
    const start = low === 0 ? this.tail.offset : endOf(this.entries[low - 1]!);
    let high = this.entries.length;
    if (low === 0 && this.tail.epoch !== epoch) return undefined;
    if (offset === start) return this.firstSeq + low;
    // The first entry that ends beyond the offset; the one before it must end exactly there.
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (endOf(this.entries[middle]!) <= offset) low = middle + 1;
      else high = middle;
    }
    const before = this.entries[low - 1];
    return offset > start && before !== undefined && endOf(before) === offset ? this.firstSeq + low : undefined;
  }

  /** The newest publications that join one another, in the present epoch. */
  newestRun(): readonly Publication[] {
    const isPublication = (entry: LogEntry): entry is Publication => !isGap(entry);
    return this.entries.slice(this.entries.findLastIndex(isGap) + 1).filter(isPublication);
  }

  /** Whether everything from cursor `seq` on fits into `maxBytes`. */
  fitsFrom(seq: number, maxBytes: number): boolean {
    let bytes = 0;
    for (let index = seq - this.firstSeq; index < this.entries.length; index++) {
      bytes += entryBytes(this.entries[index]!);
      if (bytes > maxBytes) return false;
    }
    return true;
  }

  /** Lets go of the oldest entries below `seq` until at most `maxBytes` are kept; nothing within `slack` times as much. */
  trim(seq: number, maxBytes: number, slack = TRIM_SLACK): void {
    if (this.bytes <= maxBytes * slack) return;
    let kept = this.bytes;
    const most = seq - this.firstSeq;
    let count = 0;
    while (count < most && kept > maxBytes) kept -= entryBytes(this.entries[count++]!);
    this.drop(count, kept);
  }

  /** Lets go of publications below `seq` that were accepted before `timeMs` (Unix, ms), with the receipts between them. */
  expire(seq: number, timeMs: number): void {
    const most = seq - this.firstSeq;
    let count = 0;
    let kept = this.bytes;
    while (count < most) {
      const entry = this.entries[count]!;
      if (!isGap(entry) && entry.timeMs >= timeMs) break;
      kept -= entryBytes(entry);
      count++;
    }
    this.drop(count, kept);
  }

  private drop(count: number, keptBytes: number): void {
    if (count === 0) return;
    this.tail = this.positionAt(this.firstSeq + count);
    this.entries = this.entries.slice(count);
    this.bytes = keptBytes;
  }
}
