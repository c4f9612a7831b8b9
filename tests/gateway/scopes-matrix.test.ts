// The scopes of API keys on every call of the OpenAPI document: the scope it names opens it, and nothing else does.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { API_KEY_SCOPES, type ApiKeyScope } from '../../gateway/access/api-key-entries.ts';
import { openApiDocument } from '../../protocol/openapi.ts';
import { requestJson } from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const keyWith = (scope: ApiKeyScope): string => `key-of-the-test-with-scope-${scope}`;

let gateway: GatewayUnderTest;
beforeAll(async () => {
  const keys = API_KEY_SCOPES.map((scope) => `${scope}=${keyWith(scope)}:${scope}`);
  gateway = await startGatewayUnderTest({ WEIR_API_KEYS: [`dev=${API_KEY}`, ...keys].join(',') });
});
afterAll(() => gateway.stop());

const { paths } = openApiDocument() as {
  paths: Record<string, Record<string, { security?: readonly Record<string, readonly string[]>[] }>>;
};
const calls = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([method]) => method === 'get' || method === 'post')
    .map(([method, { security = [] }]) => ({
      method: method.toUpperCase(),
      path: path.replaceAll(/\{\w+\}/g, 'c'),
      scopes: [...new Set(security.flatMap((way) => Object.values(way).flat()))] as readonly ApiKeyScope[],
    })),
);
const guarded = calls.filter(({ scopes }) => scopes.length > 0);
const open = calls.filter(({ scopes }) => scopes.length === 0);

const statusOf = async ({ method, path }: (typeof calls)[number], apiKey?: string): Promise<number> => {
  const request = { method, ...(method === 'POST' && { body: {} }), ...(apiKey !== undefined && { apiKey }) };
  return (await requestJson(gateway.node.url + path, request)).status;
};

describe('the calls of the server API', () => {
  it('are guarded by one scope each, and every scope opens some', () => {
    expect(guarded.length).toBeGreaterThan(10);
    expect(guarded.filter(({ scopes }) => scopes.length !== 1)).toEqual([]);
    expect(new Set(guarded.flatMap(({ scopes }) => scopes))).toEqual(new Set(API_KEY_SCOPES));
  });

  it.each(guarded)('$method $path is opened by $scopes alone', async (call) => {
    for (const scope of API_KEY_SCOPES) {
      const isOpened = call.scopes.includes(scope);
      // It would end the node.
      if (isOpened && call.path === '/v1/drain') continue;
      const status = await statusOf(call, keyWith(scope));
      // What is behind the door may find fault with the request.
      if (isOpened) expect([401, 403], scope).not.toContain(status);
      else expect(status, scope).toBe(403);
    }
    expect(await statusOf(call)).toBe(401);
    expect(await statusOf(call, 'a-key-that-nobody-has')).toBe(401);
  });

  it.each(open)('$method $path needs no key', async (call) => {
    expect([401, 403]).not.toContain(await statusOf(call));
  });
});
