// The paths of the HTTP API that a node serves, with their parameters, answers and examples (protocol §1, §7).
import type { ErrorName } from './codes.ts';
import { channelsQuerySchema, historyQuerySchema } from './http.ts';
import { connectionPaths } from './openapi-connection-paths.ts';
import { laterPaths } from './openapi-later-paths.ts';
import {
  channelParameter,
  EXAMPLE_EPOCH,
  guarded,
  jsonResponse,
  jsonResponses,
  type Paths,
  problemResponse,
  queryParameters,
  withRetryAfter,
} from './openapi-operations.ts';

const brokered: readonly ErrorName[] = [...guarded, 'badRequest', 'brokerUnavailable'];
const position = { epoch: EXAMPLE_EPOCH, offset: 42 };
const rates = { publicationsPerSecond: 120.5, deliveriesPerSecond: 24100, connectsPerSecond: 3 };

const publishing: Paths = {
  '/v1/publish': {
    post: {
      operationId: 'publish',
      tag: 'publish',
      summary: 'Publish to one channel or to several',
      description:
        'Exactly one of `channel` and `channels`. A success means that the publication is in the log of the channel. ' +
        'A retry with the same `messageId` within five minutes returns the first position with `duplicate: true`. ' +
        'With `channels` the answer has one result per channel, in the same order, each its own success or error.',
      scope: 'publish',
      body: {
        schema: 'PublishBody',
        examples: {
          one: { summary: 'one channel', value: { channel: 'chat:lobby', data: { text: 'hello' }, messageId: 'm-1' } },
          several: {
            summary: 'several channels',
            value: { channels: ['price:eur', 'price:usd'], data: 1.08, key: 'spot' },
          },
        },
      },
      responses: {
        200: jsonResponses('published', ['PublishAnswer', 'PublishResults'], {
          one: { summary: 'one channel', value: { channel: 'chat:lobby', ...position, duplicate: false } },
          several: {
            summary: 'several channels',
            value: {
              results: [
                { channel: 'price:eur', ...position, duplicate: false },
                {
                  channel: 'price:usd',
                  error: {
                    code: 114,
                    name: 'broker_unavailable',
                    message: 'the broker did not answer in time',
                    temporary: true,
                    retryAfterMs: 1000,
                  },
                },
              ],
            },
          },
        }),
      },
      problems: [...brokered, 'unknownChannel', 'limitExceeded'],
    },
  },
  '/v1/batch': {
    post: {
      operationId: 'batch',
      tag: 'publish',
      summary: 'Run up to 1000 publishes',
      description:
        'Not atomic. Order is kept per channel. One result per command, in the same order; a command at fault does not affect the others.',
      scope: 'publish',
      body: {
        schema: 'BatchBody',
        examples: {
          two: {
            summary: 'two publishes',
            value: {
              commands: [
                { publish: { channel: 'chat:lobby', data: { text: 'hello' } } },
                { publish: { channel: 'chat:lobby', data: { text: 'again' } } },
              ],
            },
          },
        },
      },
      responses: {
        200: jsonResponse('one result per command', 'BatchAnswer', {
          results: [
            { channel: 'chat:lobby', ...position, duplicate: false },
            {
              error: {
                code: 107,
                name: 'bad_request',
                message: 'commands[1].publish.data: expected any JSON value, got nothing',
                temporary: false,
              },
            },
          ],
        }),
      },
      problems: [...brokered, 'limitExceeded'],
    },
  },
};

const reading: Paths = {
  '/v1/channels': {
    get: {
      operationId: 'listChannels',
      tag: 'channels',
      summary: 'List channels with at least one subscriber, over all nodes',
      scope: 'read',
      parameters: queryParameters(channelsQuerySchema),
      responses: {
        200: jsonResponse('a page of channels, ordered by name', 'ChannelsPage', {
          channels: [{ channel: 'chat:lobby', subscribers: 12 }],
          cursor: null,
        }),
      },
      problems: brokered,
    },
  },
  '/v1/channels/{channel}': {
    get: {
      operationId: 'getChannel',
      tag: 'channels',
      summary: 'Position and audience of a channel, over all nodes',
      scope: 'read',
      parameters: [channelParameter],
      responses: {
        200: jsonResponse('the channel', 'ChannelInfo', { ...position, subscribers: 12, nodes: 3 }),
      },
      problems: [...brokered, 'unknownChannel'],
    },
  },
  '/v1/channels/{channel}/history': {
    get: {
      operationId: 'getHistory',
      tag: 'channels',
      summary: 'A page of the channel’s log',
      description:
        '`since_epoch` and `since_offset` name a position and come together: messages after it, or with `reverse` those before it. ' +
        'Without them the page begins at the oldest message kept, with `reverse` at the newest. A position of another epoch is error 112.',
      scope: 'read',
      parameters: [channelParameter, ...queryParameters(historyQuerySchema)],
      responses: {
        200: jsonResponse('a page of messages', 'HistoryPage', {
          channel: 'chat:lobby',
          ...position,
          messages: [{ offset: 42, data: { text: 'hello' }, time: 1_767_225_600_000 }],
          more: false,
        }),
      },
      problems: [...brokered, 'unknownChannel', 'unrecoverablePosition'],
    },
  },
  '/v1/stats': {
    get: {
      operationId: 'getStats',
      tag: 'node',
      summary: 'Figures of every node and of the cluster',
      scope: 'read',
      responses: {
        200: jsonResponse('cluster-wide figures', 'Stats', {
          nodes: [{ node: 'weir-1', connections: 250, subscriptions: 400, channels: 40, rates }],
          connections: 250,
          subscriptions: 400,
          channels: 40,
          rates,
        }),
      },
      problems: [...guarded, 'brokerUnavailable'],
    },
  },
};

const node: Paths = {
  '/v1/drain': {
    post: {
      operationId: 'drain',
      tag: 'node',
      summary: 'Empty a node and end its process',
      description:
        'Readiness turns to 404, every client gets a `reconnect` push with times of its own, spread over what the nodes that stay admit; who has not moved by then is closed with 1012. ' +
        'Then the process ends. Answers at once with what will happen. The body may be left out. A node that drains already goes on as it is and gives the same answer.',
      scope: 'manage',
      body: {
        schema: 'DrainBody',
        examples: {
          self: { summary: 'the node that serves the request', value: {} },
          other: { summary: 'another node, in a minute', value: { node: 'weir-2', timeoutMs: 60_000 } },
        },
        required: false,
      },
      responses: {
        202: jsonResponse('the node drains', 'DrainAnswer', {
          node: 'weir-2',
          connections: 20_000,
          survivors: ['weir-1', 'weir-3'],
          movesPerSecond: 1600,
          firstMoveMs: 2000,
          lastMoveMs: 19_500,
          timeoutMs: 60_000,
        }),
        404: problemResponse('no such node', [['notAvailable', 'node: no node of this name is there']]),
      },
      problems: [...guarded, 'badRequest', 'brokerUnavailable'],
    },
  },
  '/health/live': {
    get: {
      operationId: 'getLiveness',
      tag: 'node',
      summary: 'Whether the process answers',
      scope: 'none',
      responses: { 200: jsonResponse('the process lives', 'Health', { status: 'live', reasons: [] }) },
      problems: [],
    },
  },
  '/health/ready': {
    get: {
      operationId: 'getReadiness',
      tag: 'node',
      summary: 'Whether the node takes connections',
      scope: 'none',
      responses: {
        200: jsonResponse('ready', 'Health', { status: 'ready', reasons: [] }),
        404: jsonResponse('draining: existing connections stay, no new ones', 'Health', {
          status: 'draining',
          reasons: ['the node drains'],
        }),
        503: jsonResponse('not ready', 'Health', {
          status: 'not_ready',
          reasons: ['broker: the subscriber link is down'],
        }),
      },
      problems: [],
    },
  },
  '/health/accepting': {
    get: {
      operationId: 'getAcceptance',
      tag: 'node',
      summary: 'Whether a balancer may send new connections; those that are there stay in any case',
      scope: 'none',
      responses: {
        200: jsonResponse('new connections are welcome', 'Health', { status: 'ready', reasons: [] }),
        404: jsonResponse('no new ones: the node drains, or is not ready', 'Health', {
          status: 'not_ready',
          reasons: ['broker: the subscriber link is down'],
        }),
      },
      problems: [],
    },
  },
  '/metrics': {
    get: {
      operationId: 'getMetrics',
      tag: 'node',
      summary: 'Metrics in the Prometheus text format',
      scope: 'metrics',
      responses: {
        200: { description: 'metrics of this node', content: { 'text/plain': { schema: { type: 'string' } } } },
      },
      problems: ['unauthorized', 'permissionDenied', 'tooManyRequests'],
    },
  },
  '/v1/openapi.json': {
    get: {
      operationId: 'getOpenApi',
      tag: 'node',
      summary: 'This document',
      scope: 'none',
      responses: {
        200: { description: 'OpenAPI 3.1', content: { 'application/json': { schema: { type: 'object' } } } },
      },
      problems: [],
    },
  },
  '/v1/ws': {
    get: {
      operationId: 'connect',
      tag: 'transports',
      summary: 'Open a WebSocket with sub-protocol weir.v1.json',
      scope: 'none',
      responses: {
        101: { description: 'the connection is a WebSocket' },
        400: problemResponse('no known sub-protocol was offered', [
          ['badRequest', 'Sec-WebSocket-Protocol: expected an offer with weir.v1.json', { status: 400 }],
        ]),
        403: problemResponse('the Origin is not allowed', [['permissionDenied', 'Origin: this page may not connect']]),
        426: problemResponse('a plain GET, or a WebSocket version that is not 13: the detail tells how to connect', [
          ['badRequest', 'this is a WebSocket endpoint: open it with a WebSocket client', { status: 426 }],
        ]),
        503: withRetryAfter(
          problemResponse('the node is full or drains', [
            ['overloaded', 'the node is draining', { status: 503, retryAfterMs: 1000 }],
          ]),
        ),
      },
      problems: [],
    },
  },
};

/** Operations by path and method. */
export const operations: Paths = {
  ...publishing,
  ...reading,
  ...connectionPaths,
  ...node,
  ...laterPaths,
};
