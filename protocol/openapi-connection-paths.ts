// The paths of the HTTP API that manage connections, with their bodies, answers and examples (protocol §7).
import type { ErrorName } from './codes.ts';
import { connectionsQuerySchema } from './http-connections.ts';
import type { JsonSchema } from './json-schema.ts';
import { EXAMPLE_EPOCH, guarded, jsonResponse, type Paths, queryParameters } from './openapi-operations.ts';

const connectionParameter: JsonSchema = {
  name: 'connection',
  in: 'path',
  required: true,
  description: 'connection id, as in `connected.connection`',
  schema: { type: 'string', minLength: 1, maxLength: 200 },
};

const problems: readonly ErrorName[] = [...guarded, 'badRequest', 'brokerUnavailable'];

export const connectionPaths: Paths = {
  '/v1/disconnect': {
    post: {
      operationId: 'disconnect',
      tag: 'connections',
      summary: 'Close connections of a user, session or connection',
      description: 'On every node. Who has a valid token may come back at once: see /v1/revoke.',
      scope: 'manage',
      body: {
        schema: 'DisconnectBody',
        examples: { user: { summary: 'a user', value: { user: 'ada', code: 3503, reason: 'signed out' } } },
      },
      responses: { 200: jsonResponse('how many were closed', 'DisconnectAnswer', { disconnected: 2 }) },
      problems: [...problems, 'limitExceeded'],
    },
  },
  '/v1/revoke': {
    post: {
      operationId: 'revoke',
      tag: 'connections',
      summary: 'Revoke a user’s tokens, a session or one token',
      description:
        'Closes their connections on every node with 3507 and refuses later ones, also on nodes that join later. ' +
        'A user’s tokens are those issued up to now, by `iat` (all of them, when they have none): newer ones are taken. ' +
        'Holds for `ttlMs`, or `revocationTtlMs` of the node, and at least until the tokens of the closed connections end.',
      scope: 'manage',
      body: {
        schema: 'RevokeBody',
        examples: {
          user: { summary: 'all tokens of a user', value: { user: 'ada' } },
          token: { summary: 'one token', value: { jti: 'b7f2', ttlMs: 3_600_000 } },
        },
      },
      responses: {
        200: jsonResponse('how many were closed, and until when it holds', 'RevokeAnswer', {
          disconnected: 2,
          holdsUntil: 1_767_312_000_000,
        }),
      },
      problems: [...problems, 'limitExceeded'],
    },
  },
  '/v1/subscribe': {
    post: {
      operationId: 'subscribe',
      tag: 'connections',
      summary: 'Subscribe connections to a channel',
      description: 'On every node, whatever their own rights are. The key’s channel patterns must cover the channel.',
      scope: 'manage',
      body: {
        schema: 'SubscribeBody',
        examples: { user: { summary: 'a user', value: { user: 'ada', channel: 'chat:lobby', since: { last: 10 } } } },
      },
      responses: { 200: jsonResponse('how many connections', 'AffectedAnswer', { affected: 2 }) },
      problems: [...problems, 'notAvailable', 'limitExceeded', 'unrecoverablePosition'],
    },
  },
  '/v1/unsubscribe': {
    post: {
      operationId: 'unsubscribe',
      tag: 'connections',
      summary: 'Unsubscribe connections from a channel',
      scope: 'manage',
      body: {
        schema: 'UnsubscribeBody',
        examples: { user: { summary: 'a user', value: { user: 'ada', channel: 'chat:lobby' } } },
      },
      responses: { 200: jsonResponse('how many connections', 'AffectedAnswer', { affected: 2 }) },
      problems: [...problems, 'limitExceeded'],
    },
  },
  '/v1/connections': {
    get: {
      operationId: 'listConnections',
      tag: 'connections',
      summary: 'List connections, ordered by id',
      scope: 'manage',
      parameters: queryParameters(connectionsQuerySchema),
      responses: {
        200: jsonResponse('a page of connections', 'ConnectionsPage', {
          connections: [
            {
              connection: 'c-81',
              node: 'weir-1',
              user: 'ada',
              transport: 'websocket',
              dialect: 'weir.v1.json',
              subscriptions: 3,
              since: 1_767_225_600_000,
            },
          ],
          cursor: null,
        }),
      },
      problems,
    },
  },
  '/v1/connections/{connection}/explain': {
    get: {
      operationId: 'explainConnection',
      tag: 'connections',
      summary: 'Why a connection receives what it receives',
      description: 'Rates are watched for a moment. Gaps are messages that were reported missing while it caught up.',
      scope: 'manage',
      parameters: [connectionParameter],
      responses: {
        200: jsonResponse('cursors, buffers, rates and refusals', 'ExplainAnswer', {
          connection: 'c-81',
          node: 'weir-1',
          bufferedBytes: 0,
          roundTripMs: 14,
          rates: { messagesPerSecond: 20, commandsPerSecond: 0.1 },
          subscriptions: [
            {
              channel: 'chat:lobby',
              policy: 'all',
              epoch: EXAMPLE_EPOCH,
              cursor: 40,
              head: 42,
              lag: 2,
              gaps: [{ reason: 'expired', count: 3 }],
            },
          ],
          refusals: [],
        }),
      },
      problems: [...problems, 'unknownCommand'],
    },
  },
};
