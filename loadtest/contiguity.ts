// Judges the offsets one subscription receives against the promise that messages and gap receipts run upward without hole or overlap.

/** What one arriving offset means for the subscription. */
export type ArrivalVerdict = 'in-order' | 'ahead' | 'reordered' | 'duplicate';

/** Counts over one subscription; every field is a number of offsets. */
export interface ContiguityReport {
  readonly received: number;
  readonly duplicate: number;
  readonly reordered: number;
  /** Offsets the server said will never come. */
  readonly receipted: number;
  /** Offsets that neither came nor were receipted. */
  readonly missing: number;
}

export interface ContiguityTracker {
  /** Highest offset seen or receipted so far. */
  readonly head: number;
  readonly missingSoFar: number;
  accept(offset: number): ArrivalVerdict;
  /** A gap receipt for the inclusive range; offsets already received in it stay received. */
  acceptGap(from: number, to: number): void;
  /** The numbering restarts (new epoch): the next message is `offset + 1`; holes before stay missing. */
  restart(offset: number): void;
  /** Whether everything up to and including `offset` came or was receipted. */
  isComplete(offset: number): boolean;
  /** Final count, when the channel is known to end at `lastOffset`; later offsets are ignored. */
  report(lastOffset: number): ContiguityReport;
}

/** `subscribedOffset` is the head named by the `subscribed` reply: the first message expected is the one after it. */
export function createContiguityTracker(subscribedOffset: number): ContiguityTracker {
  let next = subscribedOffset + 1;
  let received = 0;
  let duplicate = 0;
  let reordered = 0;
  let receipted = 0;
  let lostBeforeRestart = 0;
  // Only open holes are stored, so memory follows what is missing and not what was received.
  const holes = new Set<number>();

  const openHolesUpTo = (offset: number): void => {
    for (let missing = next; missing < offset; missing += 1) holes.add(missing);
  };

  return {
    get head() {
      return next - 1;
    },
    get missingSoFar() {
      return holes.size + lostBeforeRestart;
    },
    accept(offset) {
      if (offset === next) {
        next += 1;
        received += 1;
        return 'in-order';
      }
      if (offset > next) {
        openHolesUpTo(offset);
        next = offset + 1;
        received += 1;
        return 'ahead';
      }
      if (holes.delete(offset)) {
        received += 1;
        reordered += 1;
        return 'reordered';
      }
      duplicate += 1;
      return 'duplicate';
    },
    acceptGap(from, to) {
      if (from > next) openHolesUpTo(from);
      for (let offset = from; offset <= to; offset += 1) {
        if (offset >= next || holes.delete(offset)) receipted += 1;
      }
      next = Math.max(next, to + 1);
    },
    restart(offset) {
      lostBeforeRestart += holes.size;
      holes.clear();
      next = offset + 1;
    },
    isComplete(offset) {
      return offset < next && holes.size === 0 && lostBeforeRestart === 0;
    },
    report(lastOffset) {
      let openHoles = 0;
      for (const hole of holes) if (hole <= lastOffset) openHoles += 1;
      const neverReached = Math.max(0, lastOffset - (next - 1));
      return { received, duplicate, reordered, receipted, missing: openHoles + neverReached + lostBeforeRestart };
    },
  };
}
