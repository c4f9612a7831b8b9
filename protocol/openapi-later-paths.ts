// The paths of the HTTP API that answer 108 `not_available` until their work arrives (protocol §1, §7).
import { connectionsQuerySchema } from './http-later.ts';
import type { JsonSchema } from './json-schema.ts';
import {
  channelParameter,
  EXAMPLE_EPOCH,
  guarded,
  jsonResponse,
  notAvailableResponse,
  type Operation,
  type Paths,
  queryParameters,
} from './openapi-operations.ts';

const connectionParameter: JsonSchema = {
  name: 'connection',
  in: 'path',
  required: true,
  description: 'connection id, as in `connected.connection`',
  schema: { type: 'string', minLength: 1, maxLength: 200 },
};

const laterCall = (
  operation: Omit<Operation, 'responses' | 'problems' | 'description'>,
  answer?: JsonSchema,
): Operation => ({
  ...operation,
  description: 'Not available yet: answers 404 with code 108.',
  responses: { ...(answer === undefined ? {} : { 200: answer }), 404: notAvailableResponse },
  problems: operation.scope === 'none' ? [] : guarded,
});

export const laterPaths: Paths = {
  '/v1/channels/{channel}/presence': {
    get: laterCall(
      {
        operationId: 'getPresence',
        tag: 'channels',
        summary: 'Members of a channel',
        scope: 'read',
        parameters: [channelParameter],
      },
      jsonResponse('the members', 'PresenceAnswer', {
        channel: 'chat:lobby',
        members: [{ user: 'ada', connections: 2, info: { name: 'Ada' } }],
        total: 1,
      }),
    ),
  },
  '/v1/disconnect': {
    post: laterCall(
      {
        operationId: 'disconnect',
        tag: 'connections',
        summary: 'Close connections of a user, session or connection',
        scope: 'manage',
        body: {
          schema: 'DisconnectBody',
          examples: { user: { summary: 'a user', value: { user: 'ada', code: 3503, reason: 'signed out' } } },
        },
      },
      jsonResponse('how many were closed', 'DisconnectAnswer', { disconnected: 2 }),
    ),
  },
  '/v1/subscribe': {
    post: laterCall(
      {
        operationId: 'subscribe',
        tag: 'connections',
        summary: 'Subscribe connections to a channel',
        scope: 'manage',
        body: {
          schema: 'SubscribeBody',
          examples: { user: { summary: 'a user', value: { user: 'ada', channel: 'chat:lobby', since: { last: 10 } } } },
        },
      },
      jsonResponse('how many connections', 'AffectedAnswer', { affected: 2 }),
    ),
  },
  '/v1/unsubscribe': {
    post: laterCall(
      {
        operationId: 'unsubscribe',
        tag: 'connections',
        summary: 'Unsubscribe connections from a channel',
        scope: 'manage',
        body: {
          schema: 'UnsubscribeBody',
          examples: { user: { summary: 'a user', value: { user: 'ada', channel: 'chat:lobby' } } },
        },
      },
      jsonResponse('how many connections', 'AffectedAnswer', { affected: 2 }),
    ),
  },
  '/v1/connections': {
    get: laterCall(
      {
        operationId: 'listConnections',
        tag: 'connections',
        summary: 'List connections',
        scope: 'manage',
        parameters: queryParameters(connectionsQuerySchema),
      },
      jsonResponse('a page of connections', 'ConnectionsPage', {
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
    ),
  },
  '/v1/connections/{connection}/explain': {
    get: laterCall(
      {
        operationId: 'explainConnection',
        tag: 'connections',
        summary: 'Why a connection receives what it receives',
        scope: 'manage',
        parameters: [connectionParameter],
      },
      jsonResponse('cursors, buffers, rates and refusals', 'ExplainAnswer', {
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
    ),
  },
  '/v1/stream': {
    get: laterCall({
      operationId: 'streamByGet',
      tag: 'transports',
      summary: 'Receive by server-sent events with an EventSource',
      scope: 'none',
    }),
    post: laterCall({
      operationId: 'stream',
      tag: 'transports',
      summary: 'Receive by server-sent events',
      scope: 'none',
    }),
  },
  '/v1/poll': {
    post: laterCall({ operationId: 'poll', tag: 'transports', summary: 'Receive by long polling', scope: 'none' }),
  },
  '/ws': {
    get: laterCall({
      operationId: 'connectPlain',
      tag: 'transports',
      summary: 'Open a WebSocket, plain dialect',
      scope: 'none',
    }),
  },
  '/ws/stats': {
    get: laterCall({
      operationId: 'getPlainStats',
      tag: 'node',
      summary: 'Figures for the plain dialect',
      scope: 'none',
    }),
  },
  '/api/ingest': {
    post: laterCall({ operationId: 'ingest', tag: 'publish', summary: 'Publish for the plain dialect', scope: 'none' }),
  },
};
