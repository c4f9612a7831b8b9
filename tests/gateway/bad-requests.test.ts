import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  openRawSocket,
  type RawSocket,
  UpgradeRefused,
  upgradeRequest,
  waitFor,
  type WsClient,
} from '../support/index.ts';
import type { GatewayUnderTest } from './gateway-under-test.ts';
import { MAX_BODY_BYTES, MAX_CONNECTIONS, NARROW_KEY, READER_KEY, settle, startSmallGateway } from './small-gateway.ts';

let gateway: GatewayUnderTest;
/** Connections that say nothing, or only half a request; opened first, because the node has patience for some seconds. */
let halfOpen: RawSocket[] = [];
beforeAll(async () => {
  gateway = await startSmallGateway();
  const { port } = gateway.node;
  const beginnings = [
    '',
    'GET /health/live HTT',
    'POST /v1/publish HTTP/1.1\r\nHost: a\r\nConte',
    upgradeRequest('/v1/ws').slice(0, 60),
  ];
  halfOpen = await Promise.all(
    beginnings.map(async (text) => {
      const raw = await openRawSocket(port);
      if (text !== '') raw.write(text);
      return raw;
    }),
  );
});
/** After every test the very same process lives and holds nothing. */
afterEach(async () => {
  const { next, failed } = await settle(gateway);
  gateway = next;
  if (failed !== undefined) throw failed;
});
afterAll(async () => {
  await Promise.all(halfOpen.map((raw) => raw[Symbol.asyncDispose]()));
  await gateway.stop();
});

const connect = (options?: Parameters<GatewayUnderTest['connect']>[0]): Promise<WsClient> => gateway.connect(options);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const upgradeRefusal = async (options: Parameters<GatewayUnderTest['connect']>[0]): Promise<UpgradeRefused> => {
  const outcome = await connect(options).catch((error: unknown) => error);
  if (!(outcome instanceof UpgradeRefused)) throw new Error('the upgrade was not refused', { cause: outcome });
  return outcome;
};
describe('HTTP that is wrong', () => {
  it('a flood of headers is answered 431 or cut', async () => {
    for (const header of [`X-Flood: ${'x'.repeat(200_000)}\r\n`, 'X-Flood: y\r\n'.repeat(20_000)]) {
      const raw = await gateway.raw();
      raw.write(`GET /health/live HTTP/1.1\r\nHost: a\r\n${header}\r\n`);
      expect(await raw.waitForEnd()).toMatch(/^(HTTP\/1\.1 (431|400) [^]*)?$/);
    }
  });

  it.each([
    ['no HTTP at all', 'hello\r\n\r\n'],
    ['a NUL', '\0\0\0\0\r\n\r\n'],
    ['TLS', Buffer.from('16030100fa010000f60303', 'hex')],
    ['no host', 'GET /health/live HTTP/1.1\r\n\r\n'],
    ['a negative length', 'POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n'],
    ['a length of words', 'POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n'],
    [
      'two ways to say the length',
      'POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a wrong chunk', 'POST /v1/publish HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
  ])('%s gets no success', async (_, bytes) => {
    const raw = await gateway.raw();
    raw.write(bytes);
    raw.end();
    expect(await raw.waitForEnd(12_000)).not.toMatch(/^HTTP\/1\.1 2/);
  });

  it('a body that stops is answered 408', async () => {
    const raw = await gateway.raw();
    raw.write(
      `POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: 50\r\n\r\n{"channel":"c"`,
    );
    expect(await raw.waitForText(/\r\n\r\n\{.*\}$/)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('a body that never begins is answered 408', async () => {
    const raw = await gateway.raw();
    raw.write(`POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: 50\r\n\r\n`);
    expect(await raw.waitForText(/\r\n\r\n\{.*\}$/)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('a body that trickles in is answered 408', async () => {
    const raw = await gateway.raw();
    raw.write(`POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: 5000\r\n\r\n{`);
    await waitFor(
      () => {
        raw.write(' ');
        return raw.text().startsWith('HTTP/1.1 408 ');
      },
      { description: 'the 408' },
    );
  });

  it('a request that is cut in the middle of its body publishes nothing', async () => {
    const requests = upTo(20).map(async () => {
      const raw = await gateway.raw();
      const body = '{"channel":"cut-body","data":1}';
      raw.write(
        `POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, -1)}`,
      );
      raw.reset();
    });
    await Promise.all(requests);
    expect((await gateway.api('/v1/channels/cut-body')).body).toMatchObject({ offset: 0 });
  });

  it('a client that goes away before its answer hurts nobody', async () => {
    const requests = upTo(20).map(async () => {
      const raw = await gateway.raw();
      raw.write(`GET /v1/stats HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\n\r\n`);
      raw.reset();
    });
    await Promise.all(requests);
    expect((await gateway.api('/v1/stats')).status).toBe(200);
  });

  it.each(['/v1/channels/%', '/v1/channels/%zz', '/v1/channels/%ff/history'])('%s is 400', async (path) => {
    const raw = await gateway.raw();
    raw.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\n\r\n`);
    expect(await raw.waitForText(/\r\n\r\n\{.*\}$/)).toMatch(/^HTTP\/1\.1 400 [^]*application\/problem\+json/);
  });

  it.each(['/v1/channels/a%20b', '/v1/channels/%C3%A4', `/v1/channels/${'a'.repeat(201)}`, '/v1/channels/a%00'])(
    'the illegal channel of %s is 422 and named',
    async (path) => {
      const { status, body } = await gateway.api(path);
      expect(status).toBe(422);
      expect(body).toMatchObject({ code: 107, errors: [{ path: 'channel' }] });
    },
  );

  it.each([
    ['{', 400],
    ['', 400],
    ['[]', 422],
    ['null', 422],
    ['"x"', 422],
    ['{}', 422],
    ['{"channel":"c"}', 422],
    ['{"data":1}', 422],
    ['{"channel":"c","channels":["d"],"data":1}', 422],
    ['{"channels":[],"data":1}', 422],
    ['{"channel":"a b","data":1}', 422],
    ['{"channel":"c","data":1,"ack":"all"}', 422],
    ['{"channel":"c","data":1,"messageId":7}', 422],
  ])('the body %s is answered %i with the fields at fault', async (text, status) => {
    const response = await fetch(`${gateway.node.url}/v1/publish`, {
      method: 'POST',
      headers: { 'X-API-Key': gateway.apiKey },
      body: text,
    });
    const body: unknown = await response.json();
    expect({ status: response.status, type: response.headers.get('content-type') }).toEqual({
      status,
      type: 'application/problem+json',
    });
    expect(body).toMatchObject({ status, code: 107, name: 'bad_request', temporary: false });
    if (status === 422) expect((body as { errors: unknown[] }).errors.length).toBeGreaterThan(0);
  });

  it.each([
    ['/v1/channels?limit=0'],
    ['/v1/channels?limit=x'],
    ['/v1/channels?limit=1001'],
    ['/v1/channels/c/history?since_offset=1'],
    ['/v1/channels/c/history?since_epoch=e'],
    ['/v1/channels/c/history?reverse=maybe'],
    ['/v1/channels/c/history?since_epoch=e&since_offset=-1'],
  ])('the query of %s is 422', async (path) => {
    expect(await gateway.api(path)).toMatchObject({ status: 422, body: { code: 107 } });
  });

  it.each([
    ['GET', '/v1/publish', 'POST'],
    ['DELETE', '/v1/channels/c', 'GET, HEAD'],
    ['PUT', '/v1/batch', 'POST'],
    ['POST', '/v1/stats', 'GET, HEAD'],
    ['POST', '/health/live', 'GET, HEAD'],
    ['POST', '/v1/ws', 'GET, HEAD'],
  ])('%s %s is 405 and says what is allowed', async (method, path, allow) => {
    const { status, headers, body } = await gateway.api(path, { method });
    expect({ status, allow: headers.get('allow'), type: headers.get('content-type') }).toEqual({
      status: 405,
      allow,
      type: 'application/problem+json',
    });
    expect(body).toMatchObject({ status: 405 });
  });

  it.each(['/v1', '/v1/nothing', '/v1/channels/a/b/c', '/v1/publish/', '//v1/publish', '/health'])(
    'what is not served at %s is 404 with a problem document',
    async (path) => {
      const { status, headers, body } = await gateway.api(path);
      expect({ status, type: headers.get('content-type') }).toEqual({ status: 404, type: 'application/problem+json' });
      expect(body).toMatchObject({ status: 404, code: 104 });
    },
  );
});

describe('bodies over their bounds', () => {
  it('a body over the limit is answered 413, also when it is far over', async () => {
    for (const size of [MAX_BODY_BYTES + 1, MAX_BODY_BYTES * 20]) {
      const raw = await gateway.raw();
      raw.write(
        `POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: ${size}\r\n\r\n`,
      );
      raw.write('x'.repeat(size));
      const answer = await raw.waitForText(/^HTTP\/1\.1 413 [^]*\r\n\r\n\{.*\}$/);
      expect(answer).toContain('application/problem+json');
    }
  });

  it('a chunked body over the limit is answered 413', async () => {
    const raw = await gateway.raw();
    raw.write(
      `POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
    for (let n = 0; n < 6; n += 1) raw.write(chunk);
    expect(await raw.waitForText(/^HTTP\/1\.1 \d+ /)).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('a client of the platform reads the 413 as an answer', async () => {
    const { status, body } = await gateway.api('/v1/publish', {
      body: { channel: 'c', data: 'x'.repeat(MAX_BODY_BYTES) },
    });
    expect(status).toBe(413);
    expect(body).toMatchObject({ code: 106, name: 'limit_exceeded' });
  });

  it('lists over their bounds are answered 413', async () => {
    const channels = upTo(1001).map((n) => `c${n}`);
    expect((await gateway.api('/v1/publish', { body: { channels, data: 1 } })).status).toBe(413);
    const commands = upTo(1001).map(() => ({}));
    expect((await gateway.api('/v1/batch', { body: { commands } })).status).toBe(413);
  });
});

describe('callers without the right', () => {
  it.each(['/v1/channels', '/v1/channels/c', '/v1/channels/c/history', '/v1/stats', '/metrics', '/v1/connections'])(
    'GET %s without a key, or with a wrong one, is 401',
    async (path) => {
      for (const apiKey of [undefined, 'wrong', `${gateway.apiKey}x`, gateway.apiKey.slice(1), 'x'.repeat(5000)]) {
        const { status, headers, text } = await gateway.api(path, { apiKey });
        expect(status).toBe(401);
        expect(headers.get('www-authenticate')).toBe('Bearer');
        expect(text).not.toContain(gateway.apiKey);
      }
    },
  );

  it.each(['/v1/publish', '/v1/batch', '/v1/disconnect', '/v1/subscribe', '/v1/unsubscribe'])(
    'POST %s without a key is 401, also with a body that is wrong',
    async (path) => {
      expect((await gateway.api(path, { body: {}, apiKey: undefined })).status).toBe(401);
    },
  );

  it('takes the key as a bearer token, and only there or in X-API-Key', async () => {
    const ask = async (headers: Record<string, string>, query = ''): Promise<number> =>
      (await gateway.api(`/v1/stats${query}`, { apiKey: undefined, headers })).status;
    expect(await ask({ Authorization: `Bearer ${gateway.apiKey}` })).toBe(200);
    expect(await ask({ Authorization: `bearer ${gateway.apiKey}` })).toBe(200);
    expect(await ask({ Authorization: gateway.apiKey })).toBe(401);
    expect(await ask({ Authorization: `Basic ${gateway.apiKey}` })).toBe(401);
    expect(await ask({ Authorization: 'Bearer' })).toBe(401);
    expect(await ask({ Cookie: `X-API-Key=${gateway.apiKey}` })).toBe(401);
    expect(await ask({}, `?api_key=${gateway.apiKey}&X-API-Key=${gateway.apiKey}`)).toBe(401);
  });

  it('a key without the scope is 403', async () => {
    const as = async (apiKey: string, path: string, body?: unknown): Promise<unknown> => {
      const answer = await gateway.api(path, { apiKey, body });
      return answer.status;
    };
    expect(await as(READER_KEY, '/v1/publish', { channel: 'c', data: 1 })).toBe(403);
    expect(await as(READER_KEY, '/v1/batch', { commands: [{ publish: { channel: 'c', data: 1 } }] })).toBe(403);
    expect(await as(READER_KEY, '/metrics')).toBe(403);
    expect(await as(READER_KEY, '/v1/connections')).toBe(403);
    expect(await as(NARROW_KEY, '/v1/stats')).toBe(403);
    expect(await as(NARROW_KEY, '/v1/channels/c/history')).toBe(403);
    expect(await as(READER_KEY, '/v1/stats')).toBe(200);
    expect(await as(NARROW_KEY, '/v1/publish', { channel: 'c', data: 1 })).toBe(200);
  });
});

describe('handshakes that are wrong', () => {
  it('no known sub-protocol among those offered is 400', async () => {
    const { status, headers, body } = await upgradeRefusal({ protocols: ['mqtt', 'weir.v2.json'] });
    expect({ status, type: headers['content-type'] }).toEqual({ status: 400, type: 'application/problem+json' });
    expect(body).toContain('weir.v1.json');
  });

  it('a known sub-protocol among unknown ones is chosen, and none offered is the native one', async () => {
    const [chosen, none] = await Promise.all([
      connect({ protocols: ['mqtt', 'weir.v1.json'] }),
      connect({ protocols: [] }),
    ]);
    expect([chosen.socket.protocol, none.socket.protocol]).toEqual(['weir.v1.json', '']);
  });

  it.each([
    'https://evil.example',
    'http://localhost.evil.example',
    'null',
    'http://127.0.0.1.evil.example:80',
    'x'.repeat(2000),
  ])('the Origin %s is 403', async (origin) => {
    expect(await upgradeRefusal({ origin })).toMatchObject({ status: 403 });
  });

  it('a page of this machine may connect in development', async () => {
    await connect({ origin: 'http://localhost:5173' });
  });

  it('a plain GET is 426 and says what to do', async () => {
    const { status, headers, body } = await gateway.api('/v1/ws', { apiKey: undefined });
    expect({ status, upgrade: headers.get('upgrade') }).toEqual({ status: 426, upgrade: 'websocket' });
    expect(body).toMatchObject({ status: 426, detail: expect.stringContaining('weir.v1.json') as string });
  });

  it.each([
    ['version 8', { 'Sec-WebSocket-Version': '8' }, /^HTTP\/1\.1 426 [^]*sec-websocket-version: 13\r\n/i],
    ['no version', { 'Sec-WebSocket-Version': undefined }, /^HTTP\/1\.1 426 /],
    ['no key', { 'Sec-WebSocket-Key': undefined }, /^HTTP\/1\.1 4\d\d /],
    ['a short key', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }, /^HTTP\/1\.1 4\d\d /],
    ['another upgrade', { Upgrade: 'h2c' }, /^HTTP\/1\.1 4\d\d /],
  ])('%s is refused', async (_, headers, expected) => {
    const raw = await gateway.raw();
    raw.write(upgradeRequest('/v1/ws', headers));
    await raw.waitForText(/^HTTP\/1\.1 \d+ [^]*\r\n\r\n/);
    expect(raw.text()).toMatch(expected);
  });

  it('a connection that never says connect, or only nonsense, is closed with 3502; one that said anything stays', async () => {
    const [silent, babbler, pinger] = await Promise.all(upTo(3).map(() => connect({ connect: false })));
    babbler!.send('nonsense');
    await pinger!.expect('ping');
    expect(await silent!.waitForClose()).toMatchObject({ code: 3502 });
    expect(await babbler!.waitForClose()).toMatchObject({ code: 3502 });
    await pinger!.expect('ping');
  });

  it('one connection too many is 503 with Retry-After, and room is given back', async () => {
    const clients = await Promise.all(upTo(MAX_CONNECTIONS).map(() => connect()));
    const { status, headers, body } = await upgradeRefusal({});
    expect({ status, retryAfter: headers['retry-after'] }).toEqual({ status: 503, retryAfter: '1' });
    expect(JSON.parse(body)).toMatchObject({ code: 115, temporary: true, retryAfterMs: expect.any(Number) as number });
    await clients[0]!.close();
    await waitFor(() => connect(), { description: 'room for one more' });
  });
});

describe('half-open connections', () => {
  it('are cut after a while, answered nothing good, and hindered nobody meanwhile', async () => {
    for (const raw of halfOpen) expect(await raw.waitForEnd(20_000)).not.toMatch(/ 101 | 200 /);
  });
});
