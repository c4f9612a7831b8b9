// Requests made from the OpenAPI document, right and nearly right: no 5xx, and no status the document does not name.
import { Agent, request as send } from 'node:http';
import fc from 'fast-check';
import { openApiDocument } from '../../../protocol/openapi.ts';
import { FUZZ_KEY, type FuzzedNode, READER_KEY } from './fuzzed-node.ts';
import { type JsonSchema, nearly, valid } from './from-schema.ts';

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query';
  readonly required?: boolean;
  readonly schema: JsonSchema;
}
interface Operation {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly body: JsonSchema | undefined;
  readonly statuses: ReadonlySet<number>;
}

/** One request, ready to be written. */
export interface FuzzedRequest {
  readonly operation: Operation;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  /** The method, the path and the names of parameters are those of the document: its statuses then apply. */
  readonly isDocumented: boolean;
}

const document = openApiDocument() as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Record<string, unknown>>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
};
const resolve = (ref: string): JsonSchema => document.components.schemas[ref.split('/').at(-1)!]!;

/** Answers that have no end to wait for, and the call that ends the node. */
const LEFT_OUT = new Set(['/v1/stream', '/v1/poll', '/v1/drain']);

const operations: readonly Operation[] = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([method]) => (method === 'get' || method === 'post') && !LEFT_OUT.has(path))
    .map(([method, operation]) => {
      const content = operation['requestBody'] as { content?: Record<string, { schema: JsonSchema }> } | undefined;
      return {
        method: method.toUpperCase(),
        path,
        parameters: (operation['parameters'] ?? []) as Parameter[],
        body: content?.content?.['application/json']?.schema,
        statuses: new Set(Object.keys(operation['responses'] as object).map(Number)),
      };
    }),
);

const text = fc.string({ unit: 'binary', maxLength: 300 });
const visible = fc.stringMatching(/^[\x21-\x7e]{0,200}$/);
/** A path segment or value in percent-encoding, valid or not. */
const encoded = (value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof(
    value.map((raw) => encodeURIComponent(raw)),
    fc.constantFrom('%', '%zz', '%00', '%c3%28', '%2e%2e', '%2F', '*', ':', '~'),
  );

const scalar = (schema: JsonSchema): fc.Arbitrary<string> => valid(schema, resolve).map(String);

const requestOf = (operation: Operation): fc.Arbitrary<FuzzedRequest> => {
  const pathValues = fc.tuple(
    ...operation.parameters
      .filter((parameter) => parameter.in === 'path')
      .map(({ name, schema }) =>
        fc.tuple(fc.constant(name), fc.oneof(scalar(schema).map(encodeURIComponent), encoded(text))),
      ),
  );
  const query = fc.record(
    Object.fromEntries(
      operation.parameters
        .filter((parameter) => parameter.in === 'query')
        .map(({ name, schema }) => [
          name,
          fc.oneof(
            scalar(schema).map((value) => encodeURIComponent(value)),
            encoded(text),
          ),
        ]),
    ),
    { requiredKeys: [] },
  );
  const right = operation.body === undefined ? fc.constant(null) : valid(operation.body, resolve);
  const body = fc.oneof(
    { weight: 4, arbitrary: right.map((value) => JSON.stringify(value)) },
    { weight: 6, arbitrary: nearly(right).map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: text },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '',
        '{',
        '[]',
        'null',
        '['.repeat(5_000),
        `{"channel":"c","data":${'9'.repeat(9_000)}}`,
      ),
    },
  );
  const credential = fc.oneof(
    { weight: 6, arbitrary: fc.constant<Record<string, string>>({ 'x-api-key': FUZZ_KEY }) },
    { weight: 2, arbitrary: fc.constant<Record<string, string>>({ authorization: `Bearer ${READER_KEY}` }) },
    { weight: 1, arbitrary: fc.constant<Record<string, string>>({}) },
    { weight: 1, arbitrary: visible.map((value): Record<string, string> => ({ authorization: value })) },
  );
  const headers = fc.dictionary(
    fc.constantFrom('content-type', 'accept', 'origin', 'x-real-ip', 'content-encoding', 'expect-ct'),
    visible,
  );
  const method = fc.oneof(
    { weight: 12, arbitrary: fc.constant(operation.method) },
    { weight: 1, arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD', 'TRACE') },
  );
  const suffix = fc.oneof(
    { weight: 15, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: fc.constantFrom('/', '/x', '//', '/..') },
  );
  return fc
    .record({ pathValues, query, body, credential, headers, method, suffix })
    .map(
      ({
        pathValues: values,
        query: pairs,
        body: written,
        credential: own,
        headers: others,
        method: verb,
        suffix: end,
      }) => {
        const path = values.reduce((filled, [name, value]) => filled.replace(`{${name}}`, value), operation.path) + end;
        const search = Object.entries(pairs).map(([name, value]) => `${name}=${String(value)}`);
        return {
          operation,
          method: verb,
          target: search.length === 0 ? path : `${path}?${search.join('&')}`,
          headers: { ...others, ...own },
          body: verb === 'POST' ? Buffer.from(written) : undefined,
          isDocumented:
            verb === operation.method && end === '' && values.every(([, value]) => /^[^/%*~]+$/.test(value)),
        };
      },
    );
};

/** Requests to every operation of the document, each as likely as the others. */
export const requests: fc.Arbitrary<FuzzedRequest> = fc.oneof(...operations.map(requestOf));

const ask = (
  port: number,
  agent: Agent,
  fuzzed: FuzzedRequest,
): Promise<{ status: number; type: string; text: string }> =>
  new Promise((fulfil, reject) => {
    const { method, target, headers, body } = fuzzed;
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    const request = send(
      { agent, port, host: '127.0.0.1', method, path: target, headers: { ...headers, ...length }, timeout: 10_000 },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          fulfil({
            status: response.statusCode ?? 0,
            type: response.headers['content-type'] ?? '',
            text: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.on('error', reject);
    request.end(body);
  });

/** What is wrong with the answer; undefined when nothing is. */
const faultOf = (
  { operation, method, isDocumented }: FuzzedRequest,
  { status, type, text: answer }: { status: number; type: string; text: string },
): string | undefined => {
  if (status >= 500) return `status ${status}: ${answer}`;
  if (isDocumented && !operation.statuses.has(status))
    return `status ${status}, which the document does not name: ${answer}`;
  if (status < 400 || method === 'HEAD') return undefined;
  if (!type.startsWith('application/problem+json')) return `status ${status} with ${type || 'no type'}: ${answer}`;
  const { code, name } = JSON.parse(answer) as { code?: unknown; name?: unknown };
  return typeof code === 'number' && typeof name === 'string'
    ? undefined
    : `a problem without code and name: ${answer}`;
};

const CONCURRENT = 8;

/** Sends the requests of one seed and returns how many were sent. Throws, with the request, at the first answer that is wrong. */
export const fuzzHttp = async ({ node }: FuzzedNode, seed: number, count: number): Promise<number> => {
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT });
  try {
    const list = fc.sample(requests, { seed, numRuns: count });
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < list.length) {
        const fuzzed = list[next++]!;
        const where = (): string =>
          `${fuzzed.method} ${fuzzed.target} ${JSON.stringify(fuzzed.headers)} ${fuzzed.body?.toString() ?? ''}`;
        const answer = await ask(node.port, agent, fuzzed).catch((error: unknown) => {
          throw new Error(`no answer to ${where()}`, { cause: error });
        });
        const fault = faultOf(fuzzed, answer);
        if (fault !== undefined) throw new Error(`${fault}\nto ${where()}`);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT }, worker));
    return list.length;
  } finally {
    agent.destroy();
  }
};
