// The paths of the HTTP API that answer 108 `not_available` until their work arrives (protocol §1, §7).
import type { JsonSchema } from './json-schema.ts';
import {
  channelParameter,
  guarded,
  jsonResponse,
  notAvailableResponse,
  type Operation,
  type Paths,
} from './openapi-operations.ts';

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
