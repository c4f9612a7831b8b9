// Everything a client may send: one schema per command (protocol §3).
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { channelSchema, idSchema, keySchema, messageIdSchema, policySchema } from './fields.ts';
import { MAX_HISTORY_LIMIT } from './limits.ts';
import { offsetSchema, sinceSchema } from './position.ts';

const command = <T extends string, P extends Record<string, TSchema>>(type: T, fields: P) =>
  Type.Object({ type: Type.Literal(type), id: Type.Optional(idSchema), ...fields }, { $id: `command.${type}` });

export const commandSchemas = {
  connect: command('connect', {
    token: Type.Optional(Type.String({ minLength: 1, maxLength: 16_384 })),
    session: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    resume: Type.Optional(
      Type.Boolean({ description: 'was connected before: let in ahead of newcomers when many come' }),
    ),
    client: Type.Optional(
      Type.Object({
        name: Type.Optional(Type.String({ maxLength: 64 })),
        version: Type.Optional(Type.String({ maxLength: 64 })),
      }),
    ),
  }),
  refresh: command('refresh', { token: Type.String({ minLength: 1, maxLength: 16_384 }) }),
  subscribe: command('subscribe', {
    channel: channelSchema,
    since: Type.Optional(sinceSchema),
    policy: Type.Optional(policySchema),
    window: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, description: 'unacknowledged messages' })),
    presence: Type.Optional(Type.Boolean()),
  }),
  unsubscribe: command('unsubscribe', { channel: channelSchema }),
  publish: command('publish', {
    channel: channelSchema,
    data: Type.Unknown(),
    key: Type.Optional(keySchema),
    messageId: Type.Optional(messageIdSchema),
  }),
  history: command('history', {
    channel: channelSchema,
    since: Type.Optional(sinceSchema),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_HISTORY_LIMIT })),
    reverse: Type.Optional(Type.Boolean()),
  }),
  presence: command('presence', { channel: channelSchema }),
  ack: command('ack', { channel: channelSchema, offset: offsetSchema }),
  rpc: command('rpc', { method: Type.String({ minLength: 1, maxLength: 200 }), data: Type.Optional(Type.Unknown()) }),
  ping: command('ping', {}),
} as const;

export type CommandType = keyof typeof commandSchemas;
export type CommandOf<T extends CommandType> = Static<(typeof commandSchemas)[T]>;
export type Command = { [T in CommandType]: CommandOf<T> }[CommandType];
