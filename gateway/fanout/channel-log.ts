// The tail of one channel as this node knows it: entries in order, each at a sequence number that cursors point to.
//
// Invariant (rule G1): read upwards, offsets of publications and ranges of gap receipts join without hole or overlap
// inside an epoch. `append` refuses what would break that; the caller heals first.
// Sequence numbers are local to the node and never restart, so a cursor stays comparable when the epoch changes.
import type { ChannelPosition, PublicationRun } from '../../broker/broker.ts';
import type { GapReason } from '../../protocol/pushes.ts';
import type { LogEntry } from '../dialects/dialect.ts';

export type AppendOutcome =
  | 'appended'
  /** Everything in the run was here already. */
  | 'known'
  /** The run starts beyond head + 1: publications in between were missed. Nothing was appended. */
  | 'hole'
  /** The run belongs to another life of the numbering. Nothing was appended. */
  | 'other-epoch';

export class ChannelLog {
  epoch = '';
  /** Offset of the newest publication, or of the newest one declared missing. */
  head = 0;
  /** Sequence number the next entry will get. A cursor equal to it is live. */
  nextSeq = 0;
  private entries: LogEntry[] = [];

  /** Adopts a position without a receipt: for a log nobody reads yet. */
  open(position: ChannelPosition): void {
    this.epoch = position.epoch;
    this.head = position.offset;
  }

  append(run: PublicationRun): AppendOutcome {
    if (run.epoch !== this.epoch) return 'other-epoch';
    const first = run.publications[0];
    const last = run.publications.at(-1);
    if (first === undefined || last === undefined || last.offset <= this.head) return 'known';
    if (first.offset > this.head + 1) return 'hole';
    for (let index = this.head + 1 - first.offset; index < run.publications.length; index++) {
      this.entries.push(run.publications[index]!);
    }
    this.nextSeq += last.offset - this.head;
    this.head = last.offset;
    return 'appended';
  }

  /** Declares everything after head up to and including `to` missing. Returns how many offsets that are. */
  lose(to: number, reason: GapReason): number {
    const count = to - this.head;
    if (count <= 0) return 0;
    this.entries.push({ from: this.head + 1, to, count, reason });
    this.nextSeq += 1;
    this.head = to;
    return count;
  }

  /**
   * Starts another life of the numbering at `position`. `lost` is what the old one still had for its readers: 0 when it
   * certainly had nothing, null when that is unknown.
   */
  changeEpoch(position: ChannelPosition, lost: 0 | null): void {
    this.entries.push({ from: null, to: null, count: lost, reason: 'epoch', ...position });
    this.nextSeq += 1;
    this.open(position);
  }

  /** Sequence number of the oldest entry kept. */
  get firstSeq(): number {
    return this.nextSeq - this.entries.length;
  }

  /** Entries from cursor `fromSeq` (inclusive) to the head; the cursor must not be below `firstSeq`. */
  read(fromSeq: number): readonly LogEntry[] {
    if (fromSeq < this.firstSeq) throw new RangeError(`cursor ${fromSeq} is below the tail ${this.firstSeq}`);
    return fromSeq === this.firstSeq ? this.entries : this.entries.slice(fromSeq - this.firstSeq);
  }

  /** Lets go of entries below `seq`: every cursor is past them. */
  forget(seq: number): void {
    const count = seq - this.firstSeq;
    if (count >= this.entries.length) this.entries = [];
    else if (count > 0) this.entries = this.entries.slice(count);
  }
}
