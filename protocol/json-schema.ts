// One JSON Schema 2020-12 document of everything that crosses the wire: commands, replies, pushes, HTTP bodies.
import type { TSchema } from '@sinclair/typebox';
import { commandSchemas } from './commands.ts';
import * as http from './http.ts';
import * as connections from './http-connections.ts';
import * as later from './http-later.ts';
import { MAX_COMMANDS_PER_FRAME } from './limits.ts';
import { positionSchema, sinceSchema } from './position.ts';
import { pushSchemas } from './pushes.ts';
import { replySchemas } from './replies.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** HTTP bodies and answers in the order of protocol §7; each has an `$id` of the form `http.<name>`. */
const httpSchemas: readonly TSchema[] = [
  http.publishBodySchema,
  http.publishAnswerSchema,
  http.itemErrorSchema,
  http.publishResultsSchema,
  http.batchCommandSchema,
  http.batchBodySchema,
  http.batchAnswerSchema,
  http.channelInfoSchema,
  http.channelsPageSchema,
  http.historyPageSchema,
  http.ratesSchema,
  http.nodeStatsSchema,
  http.statsSchema,
  http.drainBodySchema,
  http.drainAnswerSchema,
  http.healthSchema,
  http.problemSchema,
  later.presenceAnswerSchema,
  connections.disconnectBodySchema,
  connections.disconnectAnswerSchema,
  connections.revokeBodySchema,
  connections.revokeAnswerSchema,
  connections.subscribeBodySchema,
  connections.unsubscribeBodySchema,
  connections.affectedAnswerSchema,
  connections.connectionsPageSchema,
  connections.explainAnswerSchema,
];

/** `command.connect` → `ConnectCommand`, `http.publishBody` → `PublishBody`. */
export const definitionName = (id: string): string => {
  const [family = '', name = ''] = id.split('.');
  const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
  return family === 'http' ? capital(name) : capital(name) + capital(family);
};

const portable = (node: unknown, refPrefix: string, isRoot: boolean): unknown => {
  if (Array.isArray(node)) return node.map((item) => portable(item, refPrefix, false));
  if (typeof node !== 'object' || node === null) return node;
  const { $id, ...rest } = node as Record<string, unknown>;
  if (typeof $id === 'string' && !isRoot) return { $ref: refPrefix + definitionName($id) };
  return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, portable(value, refPrefix, false)]));
};

/**
 * A schema as plain JSON: a nested schema with an `$id` becomes a `$ref` below `refPrefix`, its own `$id` is dropped.
 * Everything else is inlined.
 */
export const toJsonSchema = (schema: TSchema, refPrefix: string): JsonSchema =>
  portable(schema, refPrefix, true) as JsonSchema;

const define = (schemas: readonly TSchema[], refPrefix: string): Record<string, JsonSchema> =>
  Object.fromEntries(schemas.map((schema) => [definitionName(schema.$id ?? ''), toJsonSchema(schema, refPrefix)]));

/** Definitions of the HTTP bodies, for a document that keeps them below `refPrefix`. */
export const httpDefinitions = (refPrefix: string): Record<string, JsonSchema> => define(httpSchemas, refPrefix);

const DEFS = '#/$defs/';

const anyOf = (schemas: readonly TSchema[], description: string): JsonSchema => ({
  description,
  anyOf: schemas.map((schema) => ({ $ref: DEFS + definitionName(schema.$id ?? '') })),
});

const frameOf = (description: string, items: readonly JsonSchema[], bounds: JsonSchema): JsonSchema => ({
  description,
  anyOf: [...items, { type: 'array', items: items.length === 1 ? items[0] : { anyOf: items }, ...bounds }],
});

/** `$defs` holds one definition per message and body, and `Command`, `Reply`, `Push`, `ClientFrame`, `ServerFrame`. */
export const protocolJsonSchema = (): JsonSchema => {
  const commands = Object.values<TSchema>(commandSchemas);
  const replies = Object.values<TSchema>(replySchemas);
  const pushes = Object.values<TSchema>(pushSchemas);
  const ref = (name: string): JsonSchema => ({ $ref: DEFS + name });
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:weir:protocol:v1',
    title: 'Weir protocol, version 1',
    description: 'Every message of the native dialect and every body of the HTTP API.',
    $defs: {
      Position: toJsonSchema(positionSchema, DEFS),
      Since: toJsonSchema(sinceSchema, DEFS),
      ...define([...commands, ...replies, ...pushes], DEFS),
      Command: anyOf(commands, 'what a client sends'),
      Reply: anyOf(
        replies,
        'what the server answers; subscribed, unsubscribed and error also come unasked, without id',
      ),
      Push: anyOf(pushes, 'what the server sends unasked'),
      ClientFrame: frameOf('one text frame from a client', [ref('Command')], {
        minItems: 1,
        maxItems: MAX_COMMANDS_PER_FRAME,
      }),
      ServerFrame: frameOf('one text frame from the server', [ref('Reply'), ref('Push')], { minItems: 1 }),
      ...httpDefinitions(DEFS),
    },
  };
};
