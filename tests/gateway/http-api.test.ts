import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Static, TSchema } from '@sinclair/typebox';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createChannelRoutes } from '../../gateway/api/channels.ts';
import { createConnectionRoutes } from '../../gateway/api/connections.ts';
import { createDrainRoute } from '../../gateway/api/drain.ts';
import { laterApiRoutes, laterClientRoutes } from '../../gateway/api/later.ts';
import { createOperationRoutes } from '../../gateway/api/operations.ts';
import { createPublishRoutes } from '../../gateway/api/publish.ts';
import { upgradeHelpRoutes } from '../../gateway/api/upgrade-help.ts';
import { metricDeclarations } from '../../gateway/observability/metrics.ts';
import {
  batchAnswerSchema,
  channelInfoSchema,
  channelsPageSchema,
  healthSchema,
  historyPageSchema,
  problemSchema,
  publishAnswerSchema,
  publishResultsSchema,
  statsSchema,
} from '../../protocol/http.ts';
import { createValidator } from '../../protocol/validate.ts';
import { type JsonAnswer, type TemporaryDirectory, temporaryDirectory, type WsClient } from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const PATTERN_KEY = 'pattern-key-of-the-test-0123456789';

/** The environment's short form of keys knows no channel patterns; a file does. */
const CONFIG = `
api_keys:
  - {name: dev, secret: ${API_KEY}}
  - {name: chat, secret: ${PATTERN_KEY}, channels: ['chat:*', news]}
`;

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  directory = await temporaryDirectory('config');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, CONFIG);
  gateway = await startGatewayUnderTest({ WEIR_CONFIG: file, WEIR_API_KEYS: '' });
});
afterEach(() => gateway.giveBack());
afterAll(async () => {
  await gateway.isIdle();
  await gateway.stop();
  await directory.remove();
});

let channels = 0;
const fresh = (): string => `http-${++channels}`;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const api: GatewayUnderTest['api'] = (path, request) => gateway.api(path, request);
/** The body of a 200 answer, when it has the form that the protocol gives it. */
const valid = <S extends TSchema>(schema: S, { status, text, headers, body }: JsonAnswer): Static<S> => {
  expect({ status, text }).toMatchObject({ status: 200 });
  expect(headers.get('content-type')).toBe('application/json');
  expect(createValidator(schema).validate(body)).toMatchObject({ kind: 'valid' });
  return body;
};
const problem = ({ status, headers, body }: JsonAnswer): Record<string, unknown> => {
  expect(headers.get('content-type')).toBe('application/problem+json');
  expect(createValidator(problemSchema).validate(body)).toMatchObject({ kind: 'valid' });
  expect(body).toMatchObject({ status });
  return body as Record<string, unknown>;
};
const subscribed = async (...names: string[]): Promise<WsClient> => {
  const client = await gateway.connect();
  for (const channel of names) await client.expect('subscribe', { channel });
  return client;
};
interface Results {
  readonly results: readonly Record<string, unknown>[];
}

describe('POST /v1/publish', () => {
  it('answers the position of the publication', async () => {
    const channel = fresh();
    const first = valid(publishAnswerSchema, await api('/v1/publish', { body: { channel, data: { a: 1 } } }));
    expect(first).toMatchObject({ channel, offset: 1, duplicate: false });
    const second = valid(publishAnswerSchema, await api('/v1/publish', { body: { channel, data: null, ack: 'log' } }));
    expect(second).toEqual({ ...(first as object), offset: 2 });
  });

  it('answers the same position to the same messageId, with whatever data', async () => {
    const body = { channel: fresh(), data: 1, messageId: 'once' };
    const answers = await Promise.all(upTo(5).map((data) => api('/v1/publish', { body: { ...body, data } })));
    const positions = answers.map((answer) => valid(publishAnswerSchema, answer));
    expect(positions.map(({ offset }) => offset)).toEqual([1, 1, 1, 1, 1]);
    expect(positions.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  });

  it('takes one messageId per channel, not one for all', async () => {
    const body = { data: 1, messageId: 'shared' };
    for (const channel of [fresh(), fresh()]) {
      expect((await api('/v1/publish', { body: { ...body, channel } })).body).toMatchObject({
        duplicate: false,
        offset: 1,
      });
    }
  });

  it('publishes to several channels, with one result each in the order asked', async () => {
    const names = upTo(20).map(fresh);
    await gateway.publish(names[3]!, 'before');
    const { results } = valid(publishResultsSchema, await api('/v1/publish', { body: { channels: names, data: 7 } }));
    expect(results.map(({ channel }) => channel)).toEqual(names);
    expect(results).toMatchObject(names.map((_, index) => ({ offset: index === 3 ? 2 : 1 })));
  });

  it('waits for the fan-out when asked, and says how many nodes and subscribers it reached', async () => {
    const channel = fresh();
    const clients = await Promise.all(upTo(3).map(() => subscribed(channel)));
    const body = { channel, data: 'all', ack: 'fanout' };
    const answer = valid(publishAnswerSchema, await api('/v1/publish', { body }));
    expect(answer).toMatchObject({ offset: 1, nodes: 1, subscribers: 3 });
    await Promise.all(clients.map((client) => client.waitForMessages(1)));
    const nobody = await api('/v1/publish', { body: { ...body, channel: fresh() } });
    expect(valid(publishAnswerSchema, nobody)).toMatchObject({ nodes: 0, subscribers: 0 });
  });

  it('answers a wrong body with a problem document that names the fields', async () => {
    const answer = await api('/v1/publish', { body: { channel: 'a b', data: 1, ack: 'maybe' } });
    expect(answer.status).toBe(422);
    const errors = problem(answer)['errors'] as { path: string }[];
    expect(errors.map(({ path }) => path).sort()).toEqual(['ack', 'channel']);
  });
});

describe('POST /v1/batch', () => {
  const batch = async (commands: readonly unknown[]): Promise<Results['results']> =>
    valid(batchAnswerSchema, await api('/v1/batch', { body: { commands } })).results;

  it('keeps the order of each channel, in the results and for the subscribers', async () => {
    const names = [fresh(), fresh(), fresh()];
    const client = await subscribed(...names);
    const commands = upTo(300).map((data) => ({ publish: { channel: names[data % 3]!, data } }));
    const results = await batch(commands);
    expect(results.map(({ channel }) => channel)).toEqual(commands.map(({ publish }) => publish.channel));
    await client.waitForMessages(300);
    for (const name of names) {
      const sent = commands.filter(({ publish }) => publish.channel === name).map(({ publish }) => publish.data);
      expect(results.filter(({ channel }) => channel === name).map(({ offset }) => offset)).toEqual(upTo(100));
      expect(client.messages(name).map(({ data }) => data)).toEqual(sent);
    }
  });

  it('answers what is wrong in its place and publishes the rest', async () => {
    const channel = fresh();
    const results = await batch([
      { publish: { channel, data: 1 } },
      { publish: { channel: 'a b', data: 2 } },
      { subscribe: { channel } },
      { publish: { channel } },
      {},
      7,
      { publish: { channels: [channel, fresh()], data: 3 } },
      { publish: { channel, data: 4, messageId: 'm' } },
      { publish: { channel, data: 4, messageId: 'm' } },
    ]);
    const codes = results.map((result) => (result['error'] as { code: number } | undefined)?.code ?? 'ok');
    expect(codes).toEqual(['ok', 107, 104, 107, 107, 107, 'ok', 'ok', 'ok']);
    expect((results[1]!['error'] as { message: string }).message).toContain('commands[1].publish.channel');
    expect((results[6]!['results'] as { offset: number }[]).map(({ offset }) => offset)).toEqual([2, 1]);
    expect(results[7]).toMatchObject({ offset: 3, duplicate: false });
    expect(results[8]).toMatchObject({ offset: 3, duplicate: true });
    expect((await api(`/v1/channels/${channel}`)).body).toMatchObject({ offset: 3 });
  });

  it('runs a thousand publishes in one request', async () => {
    const channel = fresh();
    const results = await batch(upTo(1000).map((data) => ({ publish: { channel, data } })));
    expect(results.map(({ offset }) => offset)).toEqual(upTo(1000));
  });

  it('refuses an envelope that is none', async () => {
    for (const body of [[], {}, { commands: [] }, { commands: {} }, { commands: 'publish' }]) {
      const answer = await api('/v1/batch', { body });
      expect(answer.status).toBe(422);
      problem(answer);
    }
  });
});

describe('GET /v1/channels', () => {
  interface Page {
    readonly channels: readonly { readonly channel: string; readonly subscribers: number }[];
    readonly cursor: string | null;
  }
  const list = async (query = ''): Promise<Page> => valid(channelsPageSchema, await api(`/v1/channels${query}`));

  it('lists channels with subscribers, ordered by name, and forgets those without', async () => {
    const client = await subscribed('list:b', 'list:a', 'list:c');
    await subscribed('list:b');
    await gateway.publish('list:nobody', 1);
    expect(await list('?prefix=list:')).toEqual({
      channels: [
        { channel: 'list:a', subscribers: 1 },
        { channel: 'list:b', subscribers: 2 },
        { channel: 'list:c', subscribers: 1 },
      ],
      cursor: null,
    });
    await client.expect('unsubscribe', { channel: 'list:a' });
    expect((await list('?prefix=list:')).channels.map(({ channel }) => channel)).toEqual(['list:b', 'list:c']);
    expect(await list('?prefix=list:zzz')).toEqual({ channels: [], cursor: null });
  });

  it('pages through all of them, each once, with every size of page', async () => {
    const names = upTo(23).map((n) => `page:${String(n).padStart(3, '0')}`);
    await subscribed(...names, 'other:1', 'pagf:1');
    for (const limit of [1, 5, 22, 23, 24]) {
      const seen: string[] = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const page: Page = await list(`?prefix=page:&limit=${limit}&cursor=${encodeURIComponent(cursor)}`);
        expect(page.channels.length).toBeLessThanOrEqual(limit);
        seen.push(...page.channels.map(({ channel }) => channel));
        ({ cursor } = page);
      }
      expect(seen).toEqual(names);
    }
  });
});

describe('GET /v1/channels/{channel}', () => {
  it('tells position and audience', async () => {
    const channel = 'one:with/every,legal.char;@=_-';
    const { epoch } = await gateway.publish(channel, 1);
    await Promise.all([subscribed(channel), subscribed(channel)]);
    const answer = await api(`/v1/channels/${encodeURIComponent(channel)}`);
    expect(valid(channelInfoSchema, answer)).toEqual({ epoch, offset: 1, subscribers: 2, nodes: 1 });
  });

  it('knows a channel that nobody used yet: offset 0, nobody there', async () => {
    const info = valid(channelInfoSchema, await api(`/v1/channels/${fresh()}`));
    expect(info).toMatchObject({ offset: 0, subscribers: 0, nodes: 0 });
  });
});

describe('GET /v1/channels/{channel}/history', () => {
  interface Page {
    readonly epoch: string;
    readonly messages: readonly { readonly offset: number; readonly data: unknown }[];
    readonly more: boolean;
  }
  const read = async (channel: string, query = ''): Promise<Page> =>
    valid(historyPageSchema, await api(`/v1/channels/${channel}/history${query}`));

  it('reads pages forwards and backwards', async () => {
    const channel = fresh();
    for (const data of upTo(5)) await gateway.publish(channel, data, { key: `k${data}` });
    const all = await read(channel);
    expect(all).toMatchObject({ channel, offset: 5, more: false });
    expect(all.messages).toMatchObject(upTo(5).map((n) => ({ offset: n, data: n, key: `k${n}` })));
    const since = `since_epoch=${all.epoch}&since_offset=2`;
    expect((await read(channel, `?${since}&limit=2`)).messages.map(({ offset }) => offset)).toEqual([3, 4]);
    expect((await read(channel, `?${since}&reverse=true`)).messages.map(({ offset }) => offset)).toEqual([1]);
    expect(await read(channel, '?reverse=1&limit=1')).toMatchObject({ messages: [{ offset: 5 }], more: true });
  });

  it('answers 409 to a position of another epoch or beyond the head', async () => {
    const channel = fresh();
    const { epoch } = await gateway.publish(channel, 1);
    for (const query of ['since_epoch=gone&since_offset=0', `since_epoch=${epoch}&since_offset=2`]) {
      const answer = await api(`/v1/channels/${channel}/history?${query}`);
      expect(answer.status).toBe(409);
      expect(problem(answer)).toMatchObject({ code: 112, name: 'unrecoverable_position' });
    }
  });
});

describe('GET /v1/stats', () => {
  it('counts connections, subscriptions and channels, and names the node', async () => {
    const [a, b] = [fresh(), fresh()];
    await subscribed(a, b);
    await subscribed(b);
    const stats = valid(statsSchema, await api('/v1/stats'));
    const counts = { connections: 2, subscriptions: 3, channels: 2 };
    expect(stats).toMatchObject(counts);
    expect(stats.nodes).toMatchObject([{ node: 'under-test', ...counts, state: 'ready', broker: 'ready' }]);
    expect(stats).not.toHaveProperty('missing');
  });
});

describe('health', () => {
  it('answers without a key', async () => {
    const [live, ready] = await Promise.all(
      ['/health/live', '/health/ready'].map((path) => api(path, { apiKey: undefined })),
    );
    expect(valid(healthSchema, live!)).toMatchObject({ status: 'live', reasons: [] });
    const accepting = await api('/health/accepting', { apiKey: undefined });
    expect(valid(healthSchema, accepting)).toMatchObject({ status: 'ready', node: 'under-test' });
    expect(valid(healthSchema, ready!)).toMatchObject({ status: 'ready', reasons: [], node: 'under-test' });
  });
});

describe('GET /metrics', () => {
  const exposition = async (): Promise<string> => {
    const { status, headers, text } = await api('/metrics');
    expect({ status, type: headers.get('content-type') }).toMatchObject({
      status: 200,
      type: expect.stringContaining('text/plain') as string,
    });
    return text;
  };
  const typesOf = (text: string): Map<string, string> =>
    new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));

  it('exports every declared metric with its type, and no other of ours', async () => {
    const exported = [...typesOf(await exposition())].filter(([name]) => name.startsWith('weir_'));
    const declared = Object.entries(metricDeclarations).map(([name, { type }]) => [name, type]);
    expect(exported.sort()).toEqual(declared.sort());
  });

  it('gives samples only the declared labels', async () => {
    const client = await subscribed(fresh());
    await client.command('unsubscribe', { channel: fresh() });
    for (const line of (await exposition()).split('\n').filter((one) => one.startsWith('weir_'))) {
      const [, sample = '', labels = ''] = /^([a-z_0-9]+)(?:\{(.*)\})? /.exec(line) ?? [];
      const name = (
        sample in metricDeclarations ? sample : sample.replace(/_(bucket|sum|count)$/, '')
      ) as keyof typeof metricDeclarations;
      const names = [...labels.matchAll(/([a-z_]+)="/g)].map((match) => match[1]!).filter((label) => label !== 'le');
      expect({
        line,
        extra: names.filter((label) => !metricDeclarations[name].labels.includes(label)),
      }).toEqual({ line, extra: [] });
    }
  });

  it('counts what happens', async () => {
    const names = [
      'weir_publications_total',
      'weir_deliveries_total',
      'weir_connections_opened_total',
      'weir_gaps_total',
    ];
    const read = (): Promise<number[]> => Promise.all(names.map((name) => gateway.metric(name)));
    const before = await read();
    const channel = fresh();
    const clients = await Promise.all([subscribed(channel), subscribed(channel)]);
    for (const data of upTo(3)) await gateway.publish(channel, data);
    await Promise.all(clients.map((client) => client.waitForMessages(3)));
    const after = await read();
    expect(after.map((value, index) => value - before[index]!)).toEqual([3, 6, 2, 0]);
  });
});

describe('the OpenAPI document', () => {
  interface Operation {
    readonly responses: Readonly<Record<string, unknown>>;
    readonly requestBody?: {
      readonly content: Readonly<
        Record<string, { readonly examples: Readonly<Record<string, { readonly value: unknown }>> }>
      >;
    };
  }
  const operations = async (): Promise<{ path: string; method: string; operation: Operation }[]> => {
    const { paths } = (await api('/v1/openapi.json', { apiKey: undefined })).body as {
      paths: Record<string, Record<string, Operation>>;
    };
    return Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    );
  };
  const examplesOf = ({ requestBody }: Operation): unknown[] =>
    Object.values(requestBody?.content['application/json']?.examples ?? {}).map(({ value }) => value);

  it('describes every route of the gateway, and nothing else', async () => {
    const cluster = {} as Parameters<typeof createOperationRoutes>[0]['cluster'];
    const routes = [
      ...createPublishRoutes({ cluster } as Parameters<typeof createPublishRoutes>[0]),
      ...createChannelRoutes({ cluster } as Parameters<typeof createChannelRoutes>[0]),
      ...createOperationRoutes({ cluster, openMetrics: false } as Parameters<typeof createOperationRoutes>[0]),
      ...createConnectionRoutes({} as Parameters<typeof createConnectionRoutes>[0]),
      createDrainRoute({ control: { handle: () => undefined } } as unknown as Parameters<typeof createDrainRoute>[0]),
      ...laterApiRoutes,
      ...laterClientRoutes,
      ...upgradeHelpRoutes,
    ].map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`);
    const described = (await operations()).map(({ method, path }) => `${method} ${path}`);
    expect(described.sort()).toEqual(routes.sort());
  });

  it('describes only what is served, with every status it is answered with', async () => {
    // It would end the node; drain-call.test.ts asks for it.
    const harmless = (await operations()).filter(({ path }) => path !== '/v1/drain');
    for (const { path, method, operation } of harmless) {
      const place = path.replace(/\{\w+\}/g, 'example');
      const bodies = method === 'post' ? [...examplesOf(operation), undefined, {}] : [undefined];
      for (const body of bodies) {
        for (const apiKey of [gateway.apiKey, undefined]) {
          const { status, text } = await api(place, { method: method.toUpperCase(), body, apiKey });
          expect({ path, method, status: String(status), text }).toEqual({
            path,
            method,
            status: expect.toBeOneOf(Object.keys(operation.responses)) as string,
            text: expect.not.stringContaining('nothing is served') as string,
          });
        }
      }
    }
  });

  it('has examples that work as they stand', async () => {
    const served = (await operations()).filter(({ path }) => ['/v1/publish', '/v1/batch'].includes(path));
    expect(served).toHaveLength(2);
    for (const { path, operation } of served) {
      const examples = examplesOf(operation);
      expect(examples.length).toBeGreaterThan(0);
      for (const body of examples) expect((await api(path, { body })).status).toBe(200);
    }
  });
});

describe('an API key with channel patterns', () => {
  it('publishes and reads only what its patterns cover', async () => {
    const as = (path: string, body?: unknown): Promise<JsonAnswer> => api(path, { apiKey: PATTERN_KEY, body });
    expect((await as('/v1/publish', { channel: 'chat:a', data: 1 })).status).toBe(200);
    expect((await as('/v1/publish', { channel: 'news', data: 1 })).status).toBe(200);
    for (const channel of ['price:a', 'chat', 'chats:a', 'newsletter']) {
      const denied = await as('/v1/publish', { channel, data: 1 });
      expect(denied.status).toBe(403);
      expect(problem(denied)).toMatchObject({ code: 103 });
      expect((await as(`/v1/channels/${channel}`)).status).toBe(403);
      expect((await as(`/v1/channels/${channel}/history`)).status).toBe(403);
    }
    const { results } = valid(publishResultsSchema, await as('/v1/publish', { channels: ['chat:a', 'x'], data: 2 }));
    expect(results).toMatchObject([{ offset: 2 }, { channel: 'x', error: { code: 103, name: 'permission_denied' } }]);
    expect((await as('/v1/channels/chat:a')).status).toBe(200);
    expect((await as('/v1/channels/news/history')).status).toBe(200);
    await subscribed('chat:a', 'news', 'price:a');
    const listed = (await as('/v1/channels')).body as { channels: { channel: string }[] };
    expect(listed.channels.map(({ channel }) => channel)).toEqual(['chat:a', 'news']);
  });
});
