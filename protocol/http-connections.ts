// Bodies, queries and answers of the HTTP API calls that manage connections (protocol §7).
import { type Static, Type } from '@sinclair/typebox';
import { channelSchema, policySchema, timeSchema } from './fields.ts';
import { epochSchema, offsetSchema, sinceSchema } from './position.ts';
import { gapReasonSchema } from './pushes.ts';

const countSchema = Type.Integer({ minimum: 0 });
const nameSchema = Type.String({ minLength: 1, maxLength: 200 });
/** Nodes with a live lease that did not answer in time: the answer is partial. Absent when all answered. */
const missingNodes = Type.Optional(Type.Array(Type.String(), { description: 'nodes that did not answer in time' }));

const DAY_MS = 86_400_000;

/** Exactly one of `user`, `connection` and `session`. The compiled check does not see `oneOf`: read bodies through their parser. */
export const disconnectBodySchema = Type.Object(
  {
    user: Type.Optional(nameSchema),
    connection: Type.Optional(nameSchema),
    session: Type.Optional(nameSchema),
    code: Type.Optional(Type.Integer({ minimum: 3000, maximum: 4999, description: 'close code (default 3503)' })),
    reason: Type.Optional(Type.String({ maxLength: 123, description: 'close reason, at most 123 bytes of UTF-8' })),
  },
  {
    $id: 'http.disconnectBody',
    oneOf: [{ required: ['user'] }, { required: ['connection'] }, { required: ['session'] }],
  },
);
export type DisconnectBody = Static<typeof disconnectBodySchema>;
export const disconnectAnswerSchema = Type.Object(
  { disconnected: countSchema, missing: missingNodes },
  { $id: 'http.disconnectAnswer' },
);
export type DisconnectAnswer = Static<typeof disconnectAnswerSchema>;

/** Exactly one of `user`, `session` and `jti`. */
export const revokeBodySchema = Type.Object(
  {
    user: Type.Optional(nameSchema),
    session: Type.Optional(nameSchema),
    jti: Type.Optional(nameSchema),
    ttlMs: Type.Optional(
      Type.Integer({
        minimum: 1000,
        maximum: 366 * DAY_MS,
        description: 'how long it holds, ms: as long as the tokens it is about may live',
      }),
    ),
  },
  {
    $id: 'http.revokeBody',
    oneOf: [{ required: ['user'] }, { required: ['session'] }, { required: ['jti'] }],
  },
);
export type RevokeBody = Static<typeof revokeBodySchema>;
export const revokeAnswerSchema = Type.Object(
  {
    disconnected: countSchema,
    holdsUntil: Type.Number({ minimum: 0, description: 'unix time in ms' }),
    missing: missingNodes,
  },
  { $id: 'http.revokeAnswer' },
);
export type RevokeAnswer = Static<typeof revokeAnswerSchema>;

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
export const affectedAnswerSchema = Type.Object(
  { affected: countSchema, missing: missingNodes },
  { $id: 'http.affectedAnswer' },
);
export type AffectedAnswer = Static<typeof affectedAnswerSchema>;

/** Page of `GET /v1/connections` that names no limit, connections. */
export const DEFAULT_CONNECTIONS_PAGE = 100;
export const connectionsQuerySchema = Type.Object({
  user: Type.Optional(nameSchema),
  cursor: Type.Optional(Type.String({ maxLength: 512, description: 'cursor of the page before' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: DEFAULT_CONNECTIONS_PAGE })),
});
export type ConnectionsQuery = Static<typeof connectionsQuerySchema>;
const connectionRowSchema = Type.Object({
  connection: Type.String(),
  node: Type.String(),
  user: Type.Optional(Type.String()),
  transport: Type.String(),
  dialect: Type.String(),
  subscriptions: countSchema,
  since: timeSchema,
});
export type ConnectionRow = Static<typeof connectionRowSchema>;
export const connectionsPageSchema = Type.Object(
  {
    connections: Type.Array(connectionRowSchema),
    cursor: Type.Union([Type.String(), Type.Null()], { description: 'cursor of the next page, null on the last' }),
    missing: missingNodes,
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
