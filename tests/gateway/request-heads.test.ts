// What a request's head alone decides: its bound, HEAD, who may ask, and under which name it is counted.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type GatewayUnderTest, parseExposition } from './gateway-under-test.ts';
import { MAX_BODY_BYTES, NARROW_KEY, READER_KEY, startSmallGateway } from './small-gateway.ts';

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startSmallGateway();
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(() => gateway.stop());

const ANSWER = /\r\n\r\n\{.*\}$/;

it('a head of 12 000 bytes that comes in two parts is taken, on a node started without engine settings', async () => {
  expect(process.env['UWS_HTTP_MAX_HEADERS_SIZE']).toBeUndefined();
  const raw = await gateway.raw();
  const part = 'x'.repeat(6_000);
  raw.write(`GET /health/live HTTP/1.1\r\nHost: a\r\nX-Big: ${part}`);
  // Two round trips later the node has read the first part.
  await gateway.api('/health/live');
  await gateway.api('/health/live');
  raw.write(`${part}\r\n\r\n`);
  expect(await raw.waitForText(/^HTTP\/1\.1 \d+ [^]*\r\n\r\n/)).toMatch(/^HTTP\/1\.1 200 /);
});

describe('HEAD', () => {
  it.each(['/health/live', '/v1/openapi.json', '/v1/channels/head', '/v1/ws', '/console/', '/nothing'])(
    '%s has the status and headers of GET, and no body',
    async (path) => {
      const [head, get] = await Promise.all(['HEAD', 'GET'].map((method) => gateway.api(path, { method })));
      expect(head!.text).toBe('');
      expect(head!.status).toBe(get!.status);
      expect(head!.headers.get('content-type')).toBe(get!.headers.get('content-type'));
      expect(head!.headers.get('content-length')).toBe(String(Buffer.byteLength(get!.text)));
    },
  );

  it('leaves nothing on the wire that would be read as the next answer', async () => {
    const raw = await gateway.raw();
    for (const path of ['/health/live', '/nothing', '/v1/publish', '/v1/stats']) {
      const before = raw.text().length;
      raw.write(`HEAD ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await raw.waitForText(new RegExp(`^[^]{${before}}HTTP/1.1 [^]*\r\n\r\n`));
    }
    raw.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
    const text = await raw.waitForText(/\{"status":"live"[^]*\}$/);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual([200, 404, 405, 401, 200].map((status) => `HTTP/1.1 ${status}`));
    expect(text.match(/\{/g)).toHaveLength(1);
  });

  it('is among the methods that a 405 names', async () => {
    expect((await gateway.api('/health/live', { method: 'DELETE' })).headers.get('allow')).toBe('GET, HEAD');
  });
});

describe('a request that its head already refuses', () => {
  it.each([
    ['without a key', '/v1/publish', '', 401],
    ['with a wrong key', '/v1/batch', 'X-API-Key: wrong\r\n', 401],
    ['with a key without the scope', '/v1/publish', `X-API-Key: ${READER_KEY}\r\n`, 403],
    ['to a path that is not served', '/nothing', '', 404],
    ['to a call that is not available yet', '/api/ingest', '', 404],
    ['with another method', '/v1/stats', '', 405],
  ])('%s gets that answer whatever becomes of its body: %s', async (_, path, header, status) => {
    const expected = new RegExp(`^HTTP/1\\.1 ${status} [^]*application/problem\\+json`);
    const whole = await gateway.raw();
    const start = `POST ${path} HTTP/1.1\r\nHost: a\r\n${header}`;
    whole.write(`${start}Content-Length: 3\r\n\r\n{"x`);
    expect(await whole.waitForText(ANSWER)).toMatch(expected);
    const stopped = await gateway.raw();
    stopped.write(`${start}Content-Length: 50\r\n\r\n{"channel":"c"`);
    expect(await stopped.waitForText(ANSWER)).toMatch(expected);
    await stopped.waitForEnd();
    const large = await gateway.raw();
    large.write(`${start}Content-Length: ${MAX_BODY_BYTES * 2}\r\n\r\n`);
    large.write('x'.repeat(MAX_BODY_BYTES * 2));
    expect(await large.waitForText(ANSWER)).toMatch(expected);
    const endless = await gateway.raw();
    endless.write(`${start}Content-Length: ${MAX_BODY_BYTES * 20}\r\n\r\n`);
    endless.write('x'.repeat(MAX_BODY_BYTES * 20));
    expect(await endless.waitForText(ANSWER)).toMatch(expected);
  });

  it('keeps its connection for the next request when its body was read to the end', async () => {
    const raw = await gateway.raw();
    raw.write('POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\nGET / HTTP/1.1\r\n\r\n!');
    await raw.waitForText(ANSWER);
    raw.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await raw.waitForText(/"live"[^]*\}$/)).toMatch(/^HTTP\/1\.1 401 [^]*HTTP\/1\.1 200 /);
  });
});

describe('the metrics of requests', () => {
  const samples = async (): Promise<ReadonlyMap<string, number>> =>
    parseExposition((await gateway.api('/metrics')).text);

  it('count refusals under the path that refused, and what is served nowhere under one name', async () => {
    const before = await samples();
    const post = (path: string, body: string, headers: Record<string, string> = {}): Promise<unknown> =>
      fetch(gateway.node.url + path, { method: 'POST', body, headers: { 'X-API-Key': gateway.apiKey, ...headers } });
    await gateway.api('/nothing/1');
    await gateway.api('/nothing/2');
    await gateway.api('/v1/publish', { method: 'DELETE' });
    await gateway.api('/v1/channels/%25zz%', {});
    await post('/v1/publish', 'x'.repeat(MAX_BODY_BYTES + 1));
    await post('/v1/batch', '{');
    await post('/v1/publish', '{}', { 'X-API-Key': 'wrong' });
    const raw = await gateway.raw();
    raw.write(`POST /v1/batch HTTP/1.1\r\nHost: a\r\nX-API-Key: ${NARROW_KEY}\r\nContent-Length: 50\r\n\r\n{`);
    await raw.waitForText(ANSWER);
    const after = await samples();
    const counted = (route: string, status: number): number => {
      const name = `weir_http_requests_total{route="${route}",status="${status}"}`;
      return (after.get(name) ?? 0) - (before.get(name) ?? 0);
    };
    expect({
      unknown: counted('unmatched', 404),
      method: counted('/v1/publish', 405),
      path: counted('/v1/channels/:channel', 400),
      large: counted('/v1/publish', 413),
      malformed: counted('/v1/batch', 400),
      unauthorized: counted('/v1/publish', 401),
      slow: counted('/v1/batch', 408),
    }).toEqual({ unknown: 2, method: 1, path: 1, large: 1, malformed: 1, unauthorized: 1, slow: 1 });
    // The time a body takes is part of the request: this one took the whole patience of 400 ms.
    const sum = (from: ReadonlyMap<string, number>): number =>
      from.get('weir_http_request_duration_seconds_sum{route="/v1/batch"}') ?? 0;
    expect(sum(after) - sum(before)).toBeGreaterThan(0.35);
    expect([...after.keys()].filter((name) => name.includes('/nothing'))).toEqual([]);
  });
});
