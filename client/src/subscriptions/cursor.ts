// Arithmetic of a subscription's cursor: what a message or gap adds to what was already accounted for. Pure.
import type { Gap, Message, Position, Subscribed } from '../protocol/wire.ts';

export interface Cursor {
  /** Numbering that offsets now arriving belong to; undefined before `subscribed` and on ephemeral channels. */
  readonly epoch: string | undefined;
  /** Everything up to here was delivered or reported as a gap. */
  readonly position: Position | undefined;
}

export interface Step {
  readonly cursor: Cursor;
  /** Gap receipts to report, before the message. */
  readonly gaps: readonly Gap[];
  /** `duplicate`: it was accounted for before and must not be delivered. */
  readonly verdict: 'new' | 'duplicate';
}

export const unknownCursor: Cursor = { epoch: undefined, position: undefined };

const step = (cursor: Cursor, gaps: Gap[] = [], verdict: Step['verdict'] = 'new'): Step => ({ cursor, gaps, verdict });

const lost = (channel: string, from: number, to: number): Gap[] =>
  from > to ? [] : [{ type: 'gap', channel, from, to, count: to - from + 1, reason: 'lost' }];

const at = (epoch: string, offset: number): Cursor => ({ epoch, position: { epoch, offset } });

/** From `position` to `offset`; what lies between, up to `lostTo`, is gone. */
const advance = (
  channel: string,
  position: Position | undefined,
  epoch: string,
  offset: number,
  lostTo: number,
): Step => {
  const next = at(epoch, offset);
  if (!position) return step(next);
  if (position.epoch !== epoch) {
    return step(next, [
      { type: 'gap', channel, from: null, to: null, count: null, reason: 'epoch', epoch, offset: lostTo },
    ]);
  }
  if (offset <= position.offset) return step({ epoch, position }, [], 'duplicate');
  return step(next, lost(channel, position.offset + 1, lostTo));
};

/** A hole the server did not report is reported here: silence means that nothing was lost. */
export const acceptMessage = (cursor: Cursor, { channel, offset }: Message): Step =>
  offset === undefined || cursor.epoch === undefined
    ? step(cursor)
    : advance(channel, cursor.position, cursor.epoch, offset, offset - 1);

/** Receipts are clipped to what is not accounted for yet, so that ranges never overlap. */
export const acceptGap = (cursor: Cursor, gap: Gap): Step => {
  const { channel, from, to } = gap;
  const { epoch, position } = cursor;
  if (gap.epoch !== undefined && gap.offset !== undefined) {
    if (gap.epoch !== position?.epoch) return step(at(gap.epoch, gap.offset), [gap]);
    // Told before by another connection: the numbering restarts once.
    if (gap.offset <= position.offset) return step(at(gap.epoch, position.offset), [], 'duplicate');
  }
  if (from == null || to == null || epoch === undefined) return step(cursor, [gap]);
  if (position?.epoch !== epoch) return step(at(epoch, to), [gap]);
  if (to <= position.offset) return step(cursor, [], 'duplicate');
  const start = position.offset + 1;
  const clipped = from < start ? { ...gap, from: start, count: to - start + 1 } : gap;
  return step(at(epoch, to), [...lost(channel, start, from - 1), clipped]);
};

/** After `subscribed` with `since`: the server delivers or reports everything after it. */
export const resumed = (cursor: Cursor, { epoch }: Subscribed): Cursor => ({ epoch, position: cursor.position });

/** No server gives it. */
const NO_EPOCH: Position = { epoch: '', offset: 0 };

/**
 * After `subscribed` without `since`: everything between the cursor and the head is gone for this subscription. A head below the
 * cursor is a node that lags behind, and what comes twice is dropped; unless the server called the position impossible: then
 * its numbering is not the one of the cursor, whatever it is called.
 */
export const jumped = (
  { position }: Cursor,
  { channel, epoch, offset }: Subscribed,
  judged: 'possible' | 'impossible' = 'possible',
): Step => {
  if (epoch === undefined || offset === undefined) return step(unknownCursor);
  const isForeign = judged === 'impossible' && position && position.offset > offset;
  return advance(channel, isForeign ? NO_EPOCH : position, epoch, offset, offset);
};
