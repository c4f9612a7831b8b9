// Building blocks of the OpenAPI document: operations, parameters, responses with examples.
import type { TObject } from '@sinclair/typebox';
import { type ErrorName, errorCodes } from './codes.ts';
import { channelSchema } from './fields.ts';
import { createProblem, PROBLEM_CONTENT_TYPE, type ProblemExtras } from './http.ts';
import { type JsonSchema, toJsonSchema } from './json-schema.ts';

export const SCHEMA_PREFIX = '#/components/schemas/';
export const JSON_CONTENT_TYPE = 'application/json';

/** A named example of a body; `schema` is a name below `#/components/schemas/`. */
export interface Example {
  readonly summary: string;
  readonly value: unknown;
}

export interface Operation {
  readonly operationId: string;
  readonly tag: 'publish' | 'channels' | 'connections' | 'node' | 'transports';
  readonly summary: string;
  readonly description?: string;
  /** Scope the API key needs; `none`: no key is asked for. */
  readonly scope: 'publish' | 'read' | 'manage' | 'metrics' | 'none';
  readonly parameters?: readonly JsonSchema[];
  readonly body?: {
    readonly schema: string;
    readonly examples: Readonly<Record<string, Example>>;
    /** Default true. */
    readonly required?: boolean;
  };
  /** Responses by status, beside the problems. */
  readonly responses: Readonly<Record<string, JsonSchema>>;
  readonly problems: readonly ErrorName[];
}

/** Operations by path and method. */
export type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

/** Errors that every guarded call may answer. */
export const guarded: readonly ErrorName[] = ['unauthorized', 'permissionDenied', 'tooManyRequests', 'internal'];

export const EXAMPLE_EPOCH = 'k7Qd2x';

export const channelParameter: JsonSchema = {
  name: 'channel',
  in: 'path',
  required: true,
  description: 'channel name, percent-encoded',
  schema: toJsonSchema(channelSchema, SCHEMA_PREFIX),
};

const content = (schema: string, examples: Readonly<Record<string, Example>>, mediaType: string): JsonSchema => ({
  [mediaType]: { schema: { $ref: SCHEMA_PREFIX + schema }, examples },
});

export const jsonResponse = (description: string, schema: string, example: unknown): JsonSchema => ({
  description,
  content: content(schema, { answer: { summary: description, value: example } }, JSON_CONTENT_TYPE),
});

export const jsonResponses = (
  description: string,
  schemas: readonly string[],
  examples: Readonly<Record<string, Example>>,
): JsonSchema => ({
  description,
  content: {
    [JSON_CONTENT_TYPE]: { schema: { anyOf: schemas.map((name) => ({ $ref: SCHEMA_PREFIX + name })) }, examples },
  },
});

export const problemResponse = (
  description: string,
  examples: readonly (readonly [error: ErrorName, detail: string, extras?: ProblemExtras])[],
): JsonSchema => ({
  description,
  content: content(
    'Problem',
    Object.fromEntries(
      examples.map(([error, detail, extras]) => [
        errorCodes[error].name,
        { summary: `${errorCodes[error].code} ${errorCodes[error].name}`, value: createProblem(error, detail, extras) },
      ]),
    ),
    PROBLEM_CONTENT_TYPE,
  ),
});

export const withRetryAfter = (response: JsonSchema): JsonSchema => ({
  ...response,
  headers: {
    'Retry-After': {
      description: 'seconds to wait before the next attempt',
      required: true,
      schema: { type: 'integer', minimum: 0 },
    },
  },
});

/** Parameters of a query, one per property of its schema. */
export const queryParameters = (schema: TObject): JsonSchema[] =>
  Object.entries(schema.properties).map(([name, property]) => ({
    name,
    in: 'query',
    required: false,
    schema: toJsonSchema(property, SCHEMA_PREFIX),
  }));

export const notAvailableResponse: JsonSchema = { $ref: '#/components/responses/NotAvailable' };

/** Component responses by status: errors of one status share one response. */
const responseNames: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  413: 'TooLarge',
  422: 'Unprocessable',
  429: 'TooManyRequests',
  500: 'Internal',
  503: 'Unavailable',
};

const security = (scope: Operation['scope']): JsonSchema[] =>
  scope === 'none' ? [] : [{ bearer: [scope] }, { apiKey: [scope] }];

/** What cannot be read at all, before any field is looked at. */
const malformed = { 400: { $ref: '#/components/responses/Malformed' } };
const slow = { 408: { $ref: '#/components/responses/Timeout' } };

/** An operation as OpenAPI has it. */
export const toOpenApi = (operation: Operation): JsonSchema => {
  const { operationId, tag, summary, description, scope, parameters, body, responses, problems } = operation;
  const problemRefs = Object.fromEntries(
    problems.map((error) => {
      const status = errorCodes[error].httpStatus;
      return [`${status}`, { $ref: `#/components/responses/${responseNames[status] ?? 'Internal'}` }];
    }),
  );
  const isBare = body === undefined && !parameters?.some((parameter) => parameter['in'] === 'path');
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: security(scope),
    ...(parameters === undefined ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: body.required ?? true,
            content: content(body.schema, body.examples, JSON_CONTENT_TYPE),
          },
        }),
    responses: { ...(isBare ? {} : malformed), ...(body === undefined ? {} : slow), ...problemRefs, ...responses },
  };
};
