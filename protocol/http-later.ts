// Bodies, queries and answers of the HTTP API calls that answer 108 `not_available` until their work arrives (protocol §7).
import { type Static, Type } from '@sinclair/typebox';
import { channelSchema, policySchema, timeSchema } from './fields.ts';
import { epochSchema, offsetSchema, sinceSchema } from './position.ts';
import { gapReasonSchema } from './pushes.ts';
import { replySchemas } from './replies.ts';

const countSchema = Type.Integer({ minimum: 0 });
const nameSchema = Type.String({ minLength: 1, maxLength: 200 });

const { channel, members, total } = replySchemas.presence.properties;
export const presenceAnswerSchema = Type.Object({ channel, members, total }, { $id: 'http.presenceAnswer' });
export type PresenceAnswer = Static<typeof presenceAnswerSchema>;

/** Exactly one of `user`, `connection` and `session`. */
export const disconnectBodySchema = Type.Object(
  {
    user: Type.Optional(nameSchema),
    connection: Type.Optional(nameSchema),
    session: Type.Optional(nameSchema),
    code: Type.Optional(Type.Integer({ minimum: 3000, maximum: 4999, description: 'close code (default 3503)' })),
    reason: Type.Optional(Type.String({ maxLength: 123, description: 'close reason' })),
  },
  {
    $id: 'http.disconnectBody',
    oneOf: [{ required: ['user'] }, { required: ['connection'] }, { required: ['session'] }],
  },
);
export type DisconnectBody = Static<typeof disconnectBodySchema>;
export const disconnectAnswerSchema = Type.Object({ disconnected: countSchema }, { $id: 'http.disconnectAnswer' });
export type DisconnectAnswer = Static<typeof disconnectAnswerSchema>;

const subscriber = { user: Type.Optional(nameSchema), connection: Type.Optional(nameSchema) };
const oneSubscriber = [{ required: ['user'] }, { required: ['connection'] }];
/** Exactly one of `user` and `connection`. */
export const subscribeBodySchema = Type.Object(
  { ...subscriber, channel: channelSchema, since: Type.Optional(sinceSchema) },
  { $id: 'http.subscribeBody', oneOf: oneSubscriber },
);
export type SubscribeBody = Static<typeof subscribeBodySchema>;
/** Exactly one of `user` and `connection`. */
export const unsubscribeBodySchema = Type.Object(
  { ...subscriber, channel: channelSchema },
  { $id: 'http.unsubscribeBody', oneOf: oneSubscriber },
);
export type UnsubscribeBody = Static<typeof unsubscribeBodySchema>;
export const affectedAnswerSchema = Type.Object({ affected: countSchema }, { $id: 'http.affectedAnswer' });
export type AffectedAnswer = Static<typeof affectedAnswerSchema>;

export const connectionsQuerySchema = Type.Object({
  user: Type.Optional(nameSchema),
  cursor: Type.Optional(Type.String({ maxLength: 512, description: 'cursor of the page before' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 100 })),
});
export type ConnectionsQuery = Static<typeof connectionsQuerySchema>;
export const connectionsPageSchema = Type.Object(
  {
    connections: Type.Array(
      Type.Object({
        connection: Type.String(),
        node: Type.String(),
        user: Type.Optional(Type.String()),
        transport: Type.String(),
        dialect: Type.String(),
        subscriptions: countSchema,
        since: timeSchema,
      }),
    ),
    cursor: Type.Union([Type.String(), Type.Null()], { description: 'cursor of the next page, null on the last' }),
  },
  { $id: 'http.connectionsPage' },
);
export type ConnectionsPage = Static<typeof connectionsPageSchema>;

export const explainAnswerSchema = Type.Object(
  {
    connection: Type.String(),
    node: Type.String(),
    bufferedBytes: countSchema,
    roundTripMs: Type.Optional(Type.Number({ minimum: 0 })),
    rates: Type.Object({
      messagesPerSecond: Type.Number({ minimum: 0 }),
      commandsPerSecond: Type.Number({ minimum: 0 }),
    }),
    subscriptions: Type.Array(
      Type.Object({
        channel: channelSchema,
        policy: policySchema,
        epoch: Type.Optional(epochSchema),
        cursor: Type.Optional(offsetSchema),
        head: Type.Optional(offsetSchema),
        lag: Type.Optional(Type.Integer({ minimum: 0, description: 'messages between cursor and head' })),
        gaps: Type.Array(Type.Object({ reason: gapReasonSchema, count: countSchema })),
      }),
    ),
    refusals: Type.Array(Type.Object({ code: Type.Integer(), message: Type.String(), time: timeSchema })),
  },
  { $id: 'http.explainAnswer' },
);
export type ExplainAnswer = Static<typeof explainAnswerSchema>;
