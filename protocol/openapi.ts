// The OpenAPI 3.1 document of the HTTP API, served at /v1/openapi.json.
import { httpDefinitions, type JsonSchema } from './json-schema.ts';
import { problemResponse, SCHEMA_PREFIX, toOpenApi, withRetryAfter } from './openapi-operations.ts';
import { operations } from './openapi-paths.ts';

const responses: Readonly<Record<string, JsonSchema>> = {
  Malformed: problemResponse('the body is no JSON, or the path is not percent-encoded', [
    ['badRequest', 'body: expected JSON, got text that is none', { status: 400 }],
  ]),
  Timeout: problemResponse('the body did not arrive in time', [
    ['badRequest', 'body: expected it within 10000 ms', { status: 408 }],
  ]),
  Unauthorized: {
    ...problemResponse('no valid API key', [['unauthorized', 'no API key was presented']]),
    headers: { 'WWW-Authenticate': { description: 'Bearer', schema: { type: 'string' } } },
  },
  Forbidden: problemResponse('the key does not grant this', [
    ['permissionDenied', 'the API key has no scope `publish` for channel `chat:lobby`'],
  ]),
  NotFound: problemResponse('no such thing', [
    ['unknownChannel', 'no namespace is named `nowhere`'],
    ['unknownCommand', 'no call is named GET /v1/nothing'],
  ]),
  NotAvailable: problemResponse('known to the protocol, not available yet', [
    ['notAvailable', 'POST /v1/poll is not available on this node'],
  ]),
  Conflict: problemResponse('the position cannot be continued from', [
    ['unrecoverablePosition', 'epoch `k7Qd2w` is over; the channel is in epoch `k7Qd2x`'],
  ]),
  TooLarge: problemResponse('a body or a list is over its bound', [
    [
      'limitExceeded',
      'channels: expected at most 1000 channels, got 1001',
      { errors: [{ path: 'channels', expected: 'at most 1000 channels', got: '1001' }] },
    ],
  ]),
  Unprocessable: problemResponse('a field at fault', [
    [
      'badRequest',
      'channel: expected channel name (1-200 of A-Za-z0-9_-=@,.;/:), got ""',
      { errors: [{ path: 'channel', expected: 'channel name (1-200 of A-Za-z0-9_-=@,.;/:)', got: '""' }] },
    ],
  ]),
  TooManyRequests: withRetryAfter(
    problemResponse('slow down', [
      ['tooManyRequests', 'the API key is over its rate', { retryAfterMs: 1000 }],
      ['overloaded', 'the node sheds load', { retryAfterMs: 5000 }],
    ]),
  ),
  Internal: problemResponse('the server failed', [
    ['internal', 'the server failed; see the log', { correlationId: 'e3b0c442' }],
  ]),
  Unavailable: withRetryAfter(
    problemResponse('the broker cannot be reached', [
      ['brokerUnavailable', 'the broker did not answer in time', { retryAfterMs: 1000 }],
    ]),
  ),
};

/** Plain JSON; every schema is below `#/components/schemas/`. */
export const openApiDocument = (): JsonSchema => ({
  openapi: '3.1.0',
  info: {
    title: 'Weir HTTP API',
    version: '1.0.0',
    summary: 'Publish to channels and look into a Weir cluster.',
    description:
      'Every node of a cluster answers every call for the whole cluster. Errors are `application/problem+json` with the codes of the protocol. ' +
      'An API key goes into `Authorization: Bearer <key>` or `X-API-Key`, never into the query string.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/', description: 'the node that served this document' }],
  tags: [
    { name: 'publish', description: 'Put publications into channels' },
    { name: 'channels', description: 'Look into channels' },
    { name: 'connections', description: 'Look into and manage connections' },
    { name: 'node', description: 'Health, figures and description of nodes' },
    { name: 'transports', description: 'Where clients connect' },
  ],
  paths: Object.fromEntries(
    Object.entries(operations).map(([path, methods]) => [
      path,
      Object.fromEntries(Object.entries(methods).map(([method, operation]) => [method, toOpenApi(operation)])),
    ]),
  ),
  components: {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer', description: 'an API key with the scope that the call names' },
      apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'the same key in its own header' },
    },
    responses,
    schemas: httpDefinitions(SCHEMA_PREFIX),
  },
});
