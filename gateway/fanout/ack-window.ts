// What a subscription with policy `ack` has sent and not seen acknowledged: offsets, at most `size` of them.

export class AckWindow {
  /** Messages that may be outstanding. */
  readonly size: number;
  /** Offsets sent and not acknowledged, ascending; all of one epoch. */
  private outstanding: number[] = [];
  private newest = 0;

  constructor(size: number) {
    this.size = size;
  }

  /** The subscription starts after `offset`, or the numbering began again after it: nothing is outstanding. */
  start(offset: number): void {
    this.outstanding = [];
    this.newest = offset;
  }

  /** Messages that may be sent now. */
  get room(): number {
    return this.size - this.outstanding.length;
  }

  /** The newest offset sent. An acknowledgement beyond it is impossible. */
  get newestSent(): number {
    return this.newest;
  }

  /** The oldest offset that was sent and not acknowledged. */
  get oldestOutstanding(): number | undefined {
    return this.outstanding[0];
  }

  handleSent(offset: number): void {
    this.outstanding.push(offset);
    this.newest = offset;
  }

  /** Confirms everything up to `offset`. Idempotent. */
  acknowledge(offset: number): void {
    const first = this.outstanding.findIndex((sent) => sent > offset);
    this.outstanding = first === -1 ? [] : this.outstanding.slice(first);
  }
}
