// What the server sends unasked (protocol §4). `subscribed`, `unsubscribed` and `error` are replies without `id`.
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { brokerStateSchema, channelSchema, keySchema, publisherSchema, timeSchema } from './fields.ts';
import { epochSchema, offsetSchema } from './position.ts';

const push = <T extends string, P extends Record<string, TSchema>>(type: T, fields: P) =>
  Type.Object({ type: Type.Literal(type), ...fields }, { $id: `push.${type}` });

export const gapReasonSchema = Type.Union([
  Type.Literal('expired'),
  Type.Literal('conflated'),
  Type.Literal('lost'),
  Type.Literal('epoch'),
  Type.Literal('dropped'),
]);
export type GapReason = Static<typeof gapReasonSchema>;

/** Why a node asks a client to move; clients take any text. */
export const MOVE_REASONS = ['drain', 'deaf', 'max_age', 'rebalance', 'overloaded'] as const;
export type MoveReason = (typeof MOVE_REASONS)[number];

const nullableOffset = Type.Union([offsetSchema, Type.Null()]);
const joinedMemberSchema = Type.Object({ user: Type.String(), info: Type.Optional(Type.Unknown()) });

export const pushSchemas = {
  message: push('message', {
    channel: channelSchema,
    data: Type.Unknown(),
    offset: Type.Optional(offsetSchema),
    key: Type.Optional(keySchema),
    publisher: Type.Optional(publisherSchema),
    time: timeSchema,
  }),
  gap: push('gap', {
    channel: channelSchema,
    from: Type.Optional(nullableOffset),
    to: Type.Optional(nullableOffset),
    count: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]),
    reason: gapReasonSchema,
    epoch: Type.Optional(epochSchema),
    offset: Type.Optional(offsetSchema),
  }),
  join: push('join', { channel: channelSchema, member: joinedMemberSchema }),
  leave: push('leave', { channel: channelSchema, member: joinedMemberSchema }),
  reconnect: push('reconnect', {
    afterMs: Type.Number({ minimum: 0 }),
    withinMs: Type.Number({ minimum: 0 }),
    reason: Type.String(),
  }),
  status: push('status', { broker: brokerStateSchema }),
} as const;

export type PushType = keyof typeof pushSchemas;
export type PushOf<T extends PushType> = Static<(typeof pushSchemas)[T]>;
export type Push = { [T in PushType]: PushOf<T> }[PushType];
