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

const lost = (channel: string, from: number, to: number): Gap[] =>
  from > to ? [] : [{ type: 'gap', channel, from, to, count: to - from + 1, reason: 'lost' }];

const epochGap = (channel: string, epoch: string, offset: number): Gap => ({
  type: 'gap',
  channel,
  from: null,
  to: null,
  count: null,
  reason: 'epoch',
  epoch,
  offset,
});

const at = (epoch: string, offset: number): Cursor => ({ epoch, position: { epoch, offset } });

/** A hole the server did not report is reported here: silence means that nothing was lost. */
export const acceptMessage = (cursor: Cursor, { channel, offset }: Message): Step => {
  const { epoch, position } = cursor;
  if (offset === undefined || epoch === undefined) return { cursor, gaps: [], verdict: 'new' };
  const next = at(epoch, offset);
  if (!position) return { cursor: next, gaps: [], verdict: 'new' };
  if (position.epoch !== epoch) {
    return { cursor: next, gaps: [epochGap(channel, epoch, offset - 1)], verdict: 'new' };
  }
  if (offset <= position.offset) return { cursor, gaps: [], verdict: 'duplicate' };
  return { cursor: next, gaps: lost(channel, position.offset + 1, offset - 1), verdict: 'new' };
};

/** Receipts are clipped to what is not accounted for yet, so that ranges never overlap. */
export const acceptGap = (cursor: Cursor, gap: Gap): Step => {
  const { channel, from, to } = gap;
  const { epoch, position } = cursor;
  if (gap.epoch !== undefined && gap.offset !== undefined && gap.epoch !== position?.epoch) {
    return { cursor: at(gap.epoch, gap.offset), gaps: [gap], verdict: 'new' };
  }
  if (from == null || to == null || epoch === undefined) return { cursor, gaps: [gap], verdict: 'new' };
  if (position?.epoch !== epoch) return { cursor: at(epoch, to), gaps: [gap], verdict: 'new' };
  if (to <= position.offset) return { cursor, gaps: [], verdict: 'duplicate' };
  const start = position.offset + 1;
  const clipped = from < start ? { ...gap, from: start, count: to - start + 1 } : gap;
  return { cursor: at(epoch, to), gaps: [...lost(channel, start, from - 1), clipped], verdict: 'new' };
};

/** After `subscribed` with `since`: the server delivers or reports everything after it. */
export const resumed = (cursor: Cursor, { epoch }: Subscribed): Cursor => ({ epoch, position: cursor.position });

/** After `subscribed` without `since`: everything between the cursor and the head is gone for this subscription. */
export const jumped = (cursor: Cursor, { channel, epoch, offset }: Subscribed): Step => {
  const { position } = cursor;
  if (epoch === undefined || offset === undefined) return { cursor: unknownCursor, gaps: [], verdict: 'new' };
  const next = at(epoch, offset);
  if (!position) return { cursor: next, gaps: [], verdict: 'new' };
  if (position.epoch !== epoch) return { cursor: next, gaps: [epochGap(channel, epoch, offset)], verdict: 'new' };
  if (offset <= position.offset) return { cursor: { epoch, position }, gaps: [], verdict: 'duplicate' };
  return { cursor: next, gaps: lost(channel, position.offset + 1, offset), verdict: 'new' };
};
