// API keys through real requests: rotation, attempts per address, and the audit lines of who managed what.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type JsonAnswer, waitFor } from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, parseExposition, startGatewayUnderTest } from './gateway-under-test.ts';

const NEXT_KEY = 'next-secret-of-the-test-0123456789';
const READER_KEY = 'reader-secret-of-the-test-0123456789';
const MAX_FAILURES = 5;

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({
    WEIR_API_KEYS: `dev=${API_KEY},next=${NEXT_KEY},reader=${READER_KEY}:read`,
    WEIR_API_KEY_MAX_FAILURES: String(MAX_FAILURES),
    WEIR_API_KEY_FAILURE_WINDOW_MS: '1h',
    WEIR_TRUSTED_PROXIES: '127.0.0.1',
    WEIR_LOG_LEVEL: 'error',
  });
});
afterAll(() => gateway.stop());

const from = (address: string, apiKey: string, path = '/v1/stats'): Promise<JsonAnswer> =>
  gateway.api(path, { apiKey, headers: { 'X-Real-IP': address } });
const statuses = async (address: string, keys: readonly string[]): Promise<number[]> => {
  const result: number[] = [];
  for (const key of keys) result.push((await from(address, key)).status);
  return result;
};
const wrong = (count: number): string[] => Array.from({ length: count }, (_, n) => `wrong-key-${n}`);
const refused = async (reason: string): Promise<number> =>
  parseExposition((await gateway.api('/metrics')).text).get(`weir_api_keys_refused_total{reason="${reason}"}`)!;
const logLines = (event: string): Record<string, unknown>[] =>
  gateway.node
    .lastOutput()
    .split('\n')
    .flatMap((line) => (line.includes(`"event":"${event}"`) ? [JSON.parse(line) as Record<string, unknown>] : []));

describe('two keys at once', () => {
  it('are both valid, so that one can follow the other', async () => {
    expect(await statuses('192.0.2.1', [API_KEY, NEXT_KEY, API_KEY])).toEqual([200, 200, 200]);
  });
});

describe('unknown keys from one address', () => {
  it('are 401, then 429 with the time to wait, also for a right key never used from there', async () => {
    const [unknown, limited] = [await refused('unknown'), await refused('limited')];
    expect(await statuses('192.0.2.2', wrong(MAX_FAILURES + 2))).toEqual([
      ...wrong(MAX_FAILURES).map(() => 401),
      429,
      429,
    ]);
    const answer = await from('192.0.2.2', API_KEY);
    expect(answer).toMatchObject({ status: 429, body: { code: 111, temporary: true } });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(60);
    expect(await refused('unknown')).toBe(unknown + MAX_FAILURES);
    expect(await refused('limited')).toBe(limited + 3);
    await waitFor(() => logLines('api_keys_limited').length === 1, { description: 'one line about the address' });
    expect(logLines('api_keys_limited')[0]).toMatchObject({ address: '192.0.2.2' });
  });

  it('do not stop a key that was used from there before, nor another address', async () => {
    expect(await statuses('192.0.2.3', [API_KEY])).toEqual([200]);
    await statuses('192.0.2.3', wrong(MAX_FAILURES + 1));
    expect(await statuses('192.0.2.3', [API_KEY, 'wrong'])).toEqual([200, 429]);
    expect(await statuses('192.0.2.4', [NEXT_KEY])).toEqual([200]);
  });

  it('do not touch what needs no key, and a request without a key is no attempt', async () => {
    await statuses('192.0.2.5', wrong(MAX_FAILURES + 1));
    const headers = { 'X-Real-IP': '192.0.2.5' };
    expect((await fetch(`${gateway.node.url}/health/live`, { headers })).status).toBe(200);
    expect((await fetch(`${gateway.node.url}/v1/stats`, { headers })).status).toBe(401);
  });
});

describe('the audit log', () => {
  const managed = async (address: string, apiKey: string): Promise<Record<string, unknown>> => {
    const before = logLines('audit').length;
    await gateway.api('/v1/connections?user=u%0a1&limit=3', { apiKey, headers: { 'X-Real-IP': address } });
    await waitFor(() => logLines('audit').length === before + 1, { description: 'an audit line' });
    return logLines('audit').at(-1)!;
  };

  it('has one line per call that manages: who, what, from where, with which result, whatever the log level', async () => {
    const line = await managed('192.0.2.6', API_KEY);
    expect(line).toMatchObject({ key: 'dev', address: '192.0.2.6', call: 'GET /v1/connections', node: 'under-test' });
    expect(line).toMatchObject({ query: 'user=u%0A1&limit=3', status: expect.any(Number) as number });
    expect(JSON.stringify(line)).not.toContain(API_KEY);
  });

  it('has refused calls too: a key without the scope, an unknown key', async () => {
    expect(await managed('192.0.2.6', READER_KEY)).toMatchObject({ key: 'reader', status: 403 });
    const unknown = await managed('192.0.2.6', 'some-unknown-key');
    expect(unknown).toMatchObject({ address: '192.0.2.6', status: 401 });
    expect(unknown['key']).toBeUndefined();
    expect(JSON.stringify(unknown)).not.toContain('some-unknown-key');
  });

  it('has no line for other calls', async () => {
    const before = logLines('audit').length;
    await statuses('192.0.2.6', [API_KEY, API_KEY]);
    await managed('192.0.2.6', API_KEY);
    expect(logLines('audit')).toHaveLength(before + 1);
  });
});
