// What the server answers to a command: its success type, or `error` (protocol §3).
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import {
  brokerStateSchema,
  channelSchema,
  idSchema,
  keySchema,
  policySchema,
  publisherSchema,
  timeSchema,
} from './fields.ts';
import { epochSchema, offsetSchema } from './position.ts';

const reply = <T extends string, P extends Record<string, TSchema>>(type: T, fields: P) =>
  Type.Object({ type: Type.Literal(type), id: Type.Optional(idSchema), ...fields }, { $id: `reply.${type}` });

export const historyMessageSchema = Type.Object({
  offset: offsetSchema,
  data: Type.Unknown(),
  key: Type.Optional(keySchema),
  publisher: Type.Optional(publisherSchema),
  time: timeSchema,
});
export type HistoryMessage = Static<typeof historyMessageSchema>;

export const memberSchema = Type.Object({
  user: Type.String(),
  connections: Type.Integer({ minimum: 1 }),
  info: Type.Optional(Type.Unknown()),
});

export const replySchemas = {
  connected: reply('connected', {
    connection: Type.String(),
    node: Type.String(),
    session: Type.String(),
    user: Type.Optional(Type.String()),
    expiresInMs: Type.Optional(Type.Number()),
    pingIntervalMs: Type.Number(),
    limits: Type.Object({ maxFrameBytes: Type.Integer(), maxSubscriptions: Type.Integer() }),
    broker: brokerStateSchema,
    serverTime: timeSchema,
  }),
  refreshed: reply('refreshed', { expiresInMs: Type.Number() }),
  subscribed: reply('subscribed', {
    channel: channelSchema,
    epoch: Type.Optional(epochSchema),
    offset: Type.Optional(offsetSchema),
    recovered: Type.Boolean(),
    policy: policySchema,
  }),
  unsubscribed: reply('unsubscribed', {
    channel: channelSchema,
    code: Type.Optional(Type.Integer()),
    reason: Type.Optional(Type.String()),
  }),
  published: reply('published', {
    channel: channelSchema,
    epoch: Type.Optional(epochSchema),
    offset: Type.Optional(offsetSchema),
    duplicate: Type.Boolean(),
  }),
  history: reply('history', {
    channel: channelSchema,
    epoch: epochSchema,
    offset: offsetSchema,
    messages: Type.Array(historyMessageSchema),
    more: Type.Boolean(),
  }),
  presence: reply('presence', {
    channel: channelSchema,
    members: Type.Array(memberSchema),
    total: Type.Integer({ minimum: 0 }),
  }),
  result: reply('result', { data: Type.Unknown() }),
  pong: reply('pong', {}),
  error: reply('error', {
    code: Type.Integer(),
    name: Type.String(),
    message: Type.String(),
    temporary: Type.Boolean(),
    retryAfterMs: Type.Optional(Type.Number({ minimum: 0 })),
  }),
} as const;

export type ReplyType = keyof typeof replySchemas;
export type ReplyOf<T extends ReplyType> = Static<(typeof replySchemas)[T]>;
export type Reply = { [T in ReplyType]: ReplyOf<T> }[ReplyType];
