// Positions in a channel's numbering: where a cursor stands and where a subscription wants to start (protocol §2, §3).
import { type Static, Type } from '@sinclair/typebox';

/** First publication of a channel is 1, +1 each; 0 is the position before it. */
export const offsetSchema = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'offset' });
/** Names the life of a numbering; offsets compare only within one epoch. */
export const epochSchema = Type.String({ minLength: 1, maxLength: 64, description: 'epoch' });

export const positionSchema = Type.Object({ epoch: epochSchema, offset: offsetSchema }, { description: 'position' });
export type Position = Static<typeof positionSchema>;

export const sinceSchema = Type.Union(
  [
    positionSchema,
    Type.Literal('earliest'),
    Type.Object({ last: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) }),
  ],
  { description: '{epoch, offset}, "earliest" or {last: n}' },
);
/** Where a subscription starts: after a position, at the oldest message kept, or n messages before the head. */
export type Since = Static<typeof sinceSchema>;
