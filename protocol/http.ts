// Bodies, queries and answers of the HTTP API calls that a node serves today (protocol §7).
import { type Static, Type } from '@sinclair/typebox';
import { type ErrorName, errorCodes } from './codes.ts';
import { brokerStateSchema, channelSchema, keySchema, messageIdSchema } from './fields.ts';
import {
  DEFAULT_CHANNELS_PAGE,
  DEFAULT_HISTORY_LIMIT,
  MAX_BATCH_COMMANDS,
  MAX_CHANNEL_LENGTH,
  MAX_CHANNELS_PAGE,
  MAX_DRAIN_TIMEOUT_MS,
  MAX_HISTORY_LIMIT,
  MAX_PUBLISH_CHANNELS,
  MIN_DRAIN_TIMEOUT_MS,
} from './limits.ts';
import { epochSchema, offsetSchema } from './position.ts';
import { replySchemas } from './replies.ts';
import type { Problem } from './validate.ts';

const countSchema = Type.Integer({ minimum: 0 });
const errorFields = {
  code: Type.Integer({ description: 'error code' }),
  name: Type.String({ description: 'name of the error code' }),
  temporary: Type.Boolean({ description: 'whether the same request may be retried' }),
  retryAfterMs: Type.Optional(Type.Number({ minimum: 0, description: 'wait at least this long, ms' })),
};

// --- POST /v1/publish

/** `log`: answered once the publication is in the channel's log. `fanout`: adds how many nodes and subscribers it reached. */
export const ackLevelSchema = Type.Union([Type.Literal('log'), Type.Literal('fanout')], {
  description: 'what the answer waits for',
});
const publishFields = {
  data: Type.Unknown({ description: 'any JSON value' }),
  key: Type.Optional(keySchema),
  messageId: Type.Optional(messageIdSchema),
  ack: Type.Optional(ackLevelSchema),
};
/** The compiled check does not see `oneOf`: read bodies through `parsePublish`, which enforces it. */
export const publishBodySchema = Type.Object(
  {
    channel: Type.Optional(channelSchema),
    channels: Type.Optional(
      Type.Array(channelSchema, { minItems: 1, maxItems: MAX_PUBLISH_CHANNELS, description: 'channel names' }),
    ),
    ...publishFields,
  },
  { $id: 'http.publishBody', oneOf: [{ required: ['channel'] }, { required: ['channels'] }] },
);
type PublishFields = Omit<Static<typeof publishBodySchema>, 'channel' | 'channels'>;
export type PublishBody = PublishFields &
  ({ channel: string; channels?: undefined } | { channels: string[]; channel?: undefined });

/** `epoch` and `offset` are absent for ephemeral channels; `nodes` and `subscribers` present with `ack:"fanout"`. */
export const publishAnswerSchema = Type.Object(
  {
    channel: channelSchema,
    epoch: Type.Optional(epochSchema),
    offset: Type.Optional(offsetSchema),
    duplicate: Type.Boolean({ description: 'whether messageId was seen before' }),
    nodes: Type.Optional(countSchema),
    subscribers: Type.Optional(countSchema),
  },
  { $id: 'http.publishAnswer' },
);
export type PublishAnswer = Static<typeof publishAnswerSchema>;

/** What went wrong with one item of a list; the other items are not affected. */
export const itemErrorSchema = Type.Object(
  {
    channel: Type.Optional(Type.String()),
    error: Type.Object({ ...errorFields, message: Type.String() }),
  },
  { $id: 'http.itemError' },
);
export type ItemError = Static<typeof itemErrorSchema>;

export const publishResultsSchema = Type.Object(
  { results: Type.Array(Type.Union([publishAnswerSchema, itemErrorSchema])) },
  { $id: 'http.publishResults' },
);
export type PublishResults = Static<typeof publishResultsSchema>;

// --- POST /v1/batch

export const batchCommandSchema = Type.Object({ publish: publishBodySchema }, { $id: 'http.batchCommand' });
export const batchBodySchema = Type.Object(
  { commands: Type.Array(batchCommandSchema, { minItems: 1, maxItems: MAX_BATCH_COMMANDS }) },
  { $id: 'http.batchBody' },
);
export type BatchBody = Static<typeof batchBodySchema>;
export const batchAnswerSchema = Type.Object(
  { results: Type.Array(Type.Union([publishAnswerSchema, publishResultsSchema, itemErrorSchema])) },
  { $id: 'http.batchAnswer' },
);
export type BatchAnswer = Static<typeof batchAnswerSchema>;

// --- channels and history

/** Nodes with a live lease that did not answer in time: the answer is partial. Absent when all answered. */
const missingNodes = Type.Optional(Type.Array(Type.String(), { description: 'nodes that did not answer in time' }));
/** Present where the namespace has presence. */
const presenceCountSchema = Type.Object({ total: countSchema });

export const channelInfoSchema = Type.Object(
  {
    epoch: Type.Optional(epochSchema),
    offset: Type.Optional(offsetSchema),
    subscribers: countSchema,
    nodes: Type.Integer({ minimum: 0, description: 'nodes with at least one subscriber' }),
    presence: Type.Optional(presenceCountSchema),
    missing: missingNodes,
  },
  { $id: 'http.channelInfo' },
);
export type ChannelInfo = Static<typeof channelInfoSchema>;

export const channelsQuerySchema = Type.Object({
  prefix: Type.Optional(Type.String({ maxLength: MAX_CHANNEL_LENGTH, description: 'prefix of channel names' })),
  cursor: Type.Optional(Type.String({ maxLength: 512, description: 'cursor of the page before' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_CHANNELS_PAGE, default: DEFAULT_CHANNELS_PAGE })),
});
export type ChannelsQuery = Static<typeof channelsQuerySchema>;
export const channelsPageSchema = Type.Object(
  {
    channels: Type.Array(Type.Object({ channel: channelSchema, subscribers: countSchema })),
    cursor: Type.Union([Type.String(), Type.Null()], { description: 'cursor of the next page, null on the last' }),
    missing: missingNodes,
  },
  { $id: 'http.channelsPage' },
);
export type ChannelsPage = Static<typeof channelsPageSchema>;

export const historyQuerySchema = Type.Object({
  since_epoch: Type.Optional(epochSchema),
  since_offset: Type.Optional(offsetSchema),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_HISTORY_LIMIT, default: DEFAULT_HISTORY_LIMIT })),
  reverse: Type.Optional(Type.Boolean()),
});
export type HistoryQueryParameters = Static<typeof historyQuerySchema>;
const { channel, epoch, offset, messages, more } = replySchemas.history.properties;
export const historyPageSchema = Type.Object({ channel, epoch, offset, messages, more }, { $id: 'http.historyPage' });
export type HistoryPageAnswer = Static<typeof historyPageSchema>;

// --- GET /v1/stats

/** Means over the last announcement interval, per second. */
export const ratesSchema = Type.Object(
  {
    publicationsPerSecond: Type.Number({ minimum: 0 }),
    deliveriesPerSecond: Type.Number({ minimum: 0 }),
    connectsPerSecond: Type.Number({ minimum: 0 }),
  },
  { $id: 'http.rates' },
);
export type Rates = Static<typeof ratesSchema>;
const totals = { connections: countSchema, subscriptions: countSchema, channels: countSchema, rates: ratesSchema };
export const nodeStatsSchema = Type.Object(
  {
    node: Type.String(),
    ...totals,
    broker: Type.Optional(brokerStateSchema),
    state: Type.Optional(Type.Union([Type.Literal('ready'), Type.Literal('draining'), Type.Literal('not_ready')])),
    version: Type.Optional(Type.String()),
    uptimeMs: Type.Optional(Type.Number({ minimum: 0 })),
    bufferedBytes: Type.Optional(countSchema),
    rssBytes: Type.Optional(countSchema),
    eventLoopLagMs: Type.Optional(Type.Number({ minimum: 0 })),
  },
  { $id: 'http.nodeStats' },
);
export type NodeStats = Static<typeof nodeStatsSchema>;
/** Sums over all nodes: a channel served by two nodes counts twice. */
export const statsSchema = Type.Object(
  { nodes: Type.Array(nodeStatsSchema), ...totals, missing: missingNodes },
  { $id: 'http.stats' },
);
export type Stats = Static<typeof statsSchema>;

// --- POST /v1/drain

export const drainBodySchema = Type.Object(
  {
    node: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        description: 'name of a node; the one that serves the request when absent',
      }),
    ),
    timeoutMs: Type.Optional(
      Type.Integer({
        minimum: MIN_DRAIN_TIMEOUT_MS,
        maximum: MAX_DRAIN_TIMEOUT_MS,
        description: 'until its process has ended; as configured when absent',
      }),
    ),
  },
  { $id: 'http.drainBody' },
);
export type DrainBody = Static<typeof drainBodySchema>;
export const drainAnswerSchema = Type.Object(
  {
    node: Type.String(),
    connections: countSchema,
    survivors: Type.Array(Type.String(), { description: 'ready nodes that take the connections' }),
    movesPerSecond: Type.Number({ minimum: 0, description: 'connections asked to move; 0 without survivors' }),
    firstMoveMs: Type.Number({ minimum: 0, description: 'until the first is to move' }),
    lastMoveMs: Type.Number({ minimum: 0, description: 'until those who did not move are closed' }),
    timeoutMs: Type.Number({ minimum: 0, description: 'until the process has ended' }),
  },
  { $id: 'http.drainAnswer' },
);
export type DrainAnswer = Static<typeof drainAnswerSchema>;

// --- health and problems

export const healthSchema = Type.Object(
  {
    status: Type.Union([
      Type.Literal('live'),
      Type.Literal('ready'),
      Type.Literal('draining'),
      Type.Literal('not_ready'),
    ]),
    reasons: Type.Array(Type.String(), { description: 'why the node is not ready; empty when it is' }),
    node: Type.Optional(Type.String()),
    overload: Type.Optional(
      Type.Object(
        {
          level: Type.Integer({ minimum: 0, maximum: 8, description: 'rungs of the overload ladder that are engaged' }),
          reasons: Type.Array(Type.String(), { description: 'signals that raised it or hold it' }),
        },
        { description: 'how far the node sheds load; it stays ready' },
      ),
    ),
  },
  { $id: 'http.health' },
);
export type Health = Static<typeof healthSchema>;

/** Media type of every error answer (RFC 9457). */
export const PROBLEM_CONTENT_TYPE = 'application/problem+json';
export const problemSchema = Type.Object(
  {
    type: Type.String({ description: 'urn:weir:error:<name>' }),
    title: Type.String({ description: 'the meaning of the code' }),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String({ description: 'what was wrong with this request' }),
    ...errorFields,
    errors: Type.Optional(
      Type.Array(Type.Object({ path: Type.String(), expected: Type.String(), got: Type.String() }), {
        description: 'the fields at fault',
      }),
    ),
    correlationId: Type.Optional(Type.String({ description: 'names the entry in the log, with code 100' })),
  },
  { $id: 'http.problem' },
);
export type ProblemDocument = Static<typeof problemSchema>;

export interface ProblemExtras {
  /** Overrides the status of the code, e.g. 405. */
  readonly status?: number;
  readonly retryAfterMs?: number;
  readonly errors?: readonly Problem[];
  readonly correlationId?: string;
}

/** The problem+json body of an error code. */
export const createProblem = (error: ErrorName, detail: string, extras: ProblemExtras = {}): ProblemDocument => {
  const { code, name, temporary, httpStatus, meaning } = errorCodes[error];
  const { errors, status = httpStatus, ...rest } = extras;
  const problem: ProblemDocument = {
    type: `urn:weir:error:${name}`,
    title: meaning,
    status,
    detail,
    code,
    name,
    temporary,
    ...rest,
  };
  return errors === undefined ? problem : { ...problem, errors: [...errors] };
};
