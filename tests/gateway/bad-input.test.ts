import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  OPCODE,
  openRawSocket,
  type RawSocket,
  UpgradeRefused,
  upgradeRequest,
  waitFor,
  webSocketFrame,
  type WireObject,
  type WsClient,
} from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const MAX_FRAME_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;
const MAX_SUBSCRIPTIONS = 100;
const MAX_CONNECTIONS = 40;
const CONNECT_DEADLINE_MS = 2_000;
const REQUEST_TIMEOUT_MS = 400;
const MAX_OUTBOX_BYTES = 64 * 1024;
const READER_KEY = 'reader-key-of-the-test-0123456789';
const NARROW_KEY = 'narrow-key-of-the-test-0123456789';

let gateway: GatewayUnderTest;
const start = (): Promise<GatewayUnderTest> =>
  startGatewayUnderTest({
    WEIR_MAX_FRAME_BYTES: String(MAX_FRAME_BYTES),
    WEIR_MAX_BODY_BYTES: String(MAX_BODY_BYTES),
    WEIR_MAX_SUBSCRIPTIONS: String(MAX_SUBSCRIPTIONS),
    WEIR_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
    WEIR_CONNECT_DEADLINE_MS: String(CONNECT_DEADLINE_MS),
    WEIR_REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
    WEIR_MAX_OUTBOX_BYTES: String(MAX_OUTBOX_BYTES),
    WEIR_API_KEYS: `dev=${API_KEY},reader=${READER_KEY}:read,narrow=${NARROW_KEY}:publish`,
  });
/** Connections that say nothing, or only half a request; opened first, because the node has patience for some seconds. */
let halfOpen: RawSocket[] = [];
beforeAll(async () => {
  gateway = await start();
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
  await gateway.giveBack();
  const failed = await gateway.isIdle().then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  // A fresh one, so that the other tests still say what they have to say.
  if (gateway.node.exit() !== undefined) gateway = await start();
  if (failed !== undefined) throw failed;
});
afterAll(async () => {
  await Promise.all(halfOpen.map((raw) => raw[Symbol.asyncDispose]()));
  await gateway.stop();
});

const connect = (options?: Parameters<GatewayUnderTest['connect']>[0]): Promise<WsClient> => gateway.connect(options);
const refused = (code: number): Record<string, unknown> => ({
  type: 'error',
  code,
  message: expect.any(String) as string,
  temporary: false,
});
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const errorsOf = (client: WsClient): readonly WireObject[] => client.received.filter(({ type }) => type === 'error');
const upgradeRefusal = async (options: Parameters<GatewayUnderTest['connect']>[0]): Promise<UpgradeRefused> => {
  const outcome = await connect(options).catch((error: unknown) => error);
  if (!(outcome instanceof UpgradeRefused)) throw new Error('the upgrade was not refused', { cause: outcome });
  return outcome;
};
/** A raw connection after a successful upgrade. */
const upgraded = async (): Promise<RawSocket> => {
  const raw = await gateway.raw();
  raw.write(upgradeRequest('/v1/ws'));
  await raw.waitForText(/^HTTP\/1\.1 101 [^]*\r\n\r\n/);
  return raw;
};

describe('frames that are no commands', () => {
  it.each([
    ['text that is no JSON', '{"type":'],
    ['an empty frame', ''],
    ['a frame of spaces', '   '],
    ['a number', '42'],
    ['null', 'null'],
    ['a string', '"ping"'],
    ['an empty array', '[]'],
    ['nested arrays', '[[{"type":"ping","id":7}]]'],
    ['an array of null', '[null]'],
    ['no type', '{}'],
    ['a numeric type', '{"type":7}'],
    ['an object as type', '{"type":{"toString":"x"}}'],
    ['two JSON values', '{"type":"ping"}{"type":"ping"}'],
    ['a comment', '// ping'],
    ['NaN', '{"type":"ping","id":NaN}'],
    ['a byte order mark', '\ufeff{"type":"ping"}'],
    ['deep nesting', `${'['.repeat(8_000)}${']'.repeat(8_000)}`],
    ['deep nesting in a type', `{"type":${'['.repeat(8_000)}${']'.repeat(8_000)}}`],
    ['deep nesting in a field', `{"type":"subscribe","channel":${'{"a":'.repeat(2_500)}1${'}'.repeat(2_500)}}`],
  ])('%s: one typed error without id, and the connection goes on', async (_, frame) => {
    const client = await connect();
    client.send(frame);
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([{ ...refused(107), name: 'bad_request' }]);
    expect(errorsOf(client)[0]).not.toHaveProperty('id');
  });

  it.each([
    ['constructor', 104],
    ['__proto__', 104],
    ['CONNECT', 104],
    ['message', 104],
    ['', 104],
  ])('the unknown command %j gets its id back with an error', async (type, code) => {
    const client = await connect();
    expect(await client.command(type)).toMatchObject(refused(code));
  });

  it.each([0, -1, 1.5, 2 ** 31, '1', null, true, [], {}])('the id %j is refused and not echoed', async (id) => {
    const client = await connect();
    client.send({ type: 'ping', id });
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([refused(107)]);
    expect(errorsOf(client)[0]).not.toHaveProperty('id');
  });

  it('a binary frame, even one that holds a command, is an error', async () => {
    const client = await connect();
    client.send(Buffer.from('{"type":"ping","id":50}'));
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([refused(107)]);
    expect(client.received.some(({ id }) => id === 50)).toBe(false);
  });

  it('65 commands in a frame are refused as one, and none of them runs', async () => {
    const client = await connect();
    client.send(upTo(65).map((id) => ({ type: 'subscribe', channel: `batch-${id}`, id: 1000 + id })));
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([{ ...refused(106), name: 'limit_exceeded' }]);
    expect(await gateway.metric('weir_subscriptions')).toBe(0);
  });

  it('a wrong command inside a batch does not touch the others', async () => {
    const client = await connect();
    const replies = await client.commands([
      { type: 'ping' },
      { type: 'nothing' },
      { type: 'subscribe' },
      { type: 'ping' },
    ]);
    expect(replies.map(({ type, code }) => code ?? type)).toEqual(['pong', 104, 107, 'pong']);
  });
});

describe('fields of the wrong type or out of range', () => {
  const illegal = ['', ' ', 'a b', 'ä', 'a\n', 'a*', '💥', 'a'.repeat(201), 7, null, true, ['a'], { a: 1 }];
  it.each(illegal)('the channel %j is refused by every command', async (channel) => {
    const client = await connect();
    const replies = await client.commands(
      ['subscribe', 'unsubscribe', 'publish', 'history', 'presence'].map((type) => ({ type, channel, data: 1 })),
    );
    for (const reply of replies)
      expect(reply).toMatchObject({ ...refused(107), message: expect.stringContaining('channel') as string });
  });

  it('names the field, what was expected and what came', async () => {
    const client = await connect();
    const reply = await client.command('history', { channel: 'c', limit: 5000 });
    expect(reply['message']).toMatch(/limit: expected .*1-1000.*got 5000/);
  });

  it('takes the longest and the strangest legal channel names', async () => {
    const client = await connect();
    for (const channel of ['a'.repeat(200), '_-=@,.;/:', ':', '::', ':a', '__proto__', 'constructor']) {
      const position = await client.expect('subscribe', { channel });
      expect(await gateway.publish(channel, 'x')).toMatchObject({ epoch: position['epoch'], offset: 1 });
      await client.waitForMessages(1, channel);
      await client.expect('unsubscribe', { channel });
    }
  });

  it('data nested too deep to be written as JSON is the sender’s error, by frame and by HTTP', async () => {
    const client = await connect();
    const depth = 7_500;
    client.send(`{"type":"publish","id":9,"channel":"deep","data":${'['.repeat(depth)}${']'.repeat(depth)}}`);
    const reply = await waitFor(() => client.received.find(({ id }) => id === 9), { description: 'the reply' });
    expect(reply['code'] ?? reply.type).not.toBe(100);
    const text = `{"channel":"deep","data":${'['.repeat(30_000)}${']'.repeat(30_000)}}`;
    const raw = await gateway.raw();
    raw.write(
      `POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
    expect(await raw.waitForText(/\r\n\r\n/)).not.toMatch(/^HTTP\/1\.1 5/);
  });
});

describe('bad frames in a row', () => {
  it('the tenth closes with 3501, after each got its error', async () => {
    const client = await connect();
    for (const n of upTo(10)) client.send(`bad ${n}`);
    expect(await client.waitForClose()).toMatchObject({ code: 3501 });
    expect(errorsOf(client)).toHaveLength(10);
  });

  it('a good command in between starts the count anew', async () => {
    const client = await connect();
    for (const round of upTo(3)) {
      for (const n of upTo(9)) client.send(`bad ${round}.${n}`);
      expect(await client.command('ping')).toMatchObject({ type: 'pong' });
    }
    expect(errorsOf(client)).toHaveLength(27);
    expect(client.closed()).toBeUndefined();
  });

  it('ten in one batch count as ten, and what follows them is not run', async () => {
    const client = await connect();
    client.send([...upTo(10).map(() => ({ type: 'nothing' })), { type: 'publish', channel: 'after-close', data: 1 }]);
    expect(await client.waitForClose()).toMatchObject({ code: 3501 });
    expect((await gateway.api('/v1/channels/after-close')).body).toMatchObject({ offset: 0 });
  });

  it('binary frames count as well', async () => {
    const client = await connect();
    for (let n = 0; n < 10; n += 1) client.send(Buffer.from([n]));
    expect(await client.waitForClose()).toMatchObject({ code: 3501 });
  });

  it('commands that are well formed but refused do not count', async () => {
    const client = await connect();
    for (let n = 0; n < 30; n += 1)
      expect(await client.command('unsubscribe', { channel: 'c' })).toMatchObject(refused(113));
    expect(client.closed()).toBeUndefined();
  });
});

describe('sizes', () => {
  const publishOf = (bytes: number): string => {
    const frame = (data: string): string => JSON.stringify({ type: 'publish', id: 40, channel: 'big', data });
    return frame('x'.repeat(bytes - frame('').length));
  };

  it('a frame of exactly the limit is taken', async () => {
    const client = await connect();
    client.send(publishOf(MAX_FRAME_BYTES));
    await waitFor(() => client.received.find(({ id }) => id === 40)?.type === 'published', {
      description: 'the reply',
    });
  });

  it('a frame one byte over the limit closes with 1009', async () => {
    const client = await connect();
    client.send(publishOf(MAX_FRAME_BYTES + 1));
    expect(await client.waitForClose()).toMatchObject({
      code: 1009,
      reason: expect.stringContaining('16384') as string,
    });
  });

  it('a frame far over the limit costs the socket without being read', async () => {
    const client = await connect();
    client.send(publishOf(MAX_FRAME_BYTES * 50));
    const { code } = await client.waitForClose();
    expect([1006, 1009]).toContain(code);
  });

  it('a frame that announces exabytes costs the socket at once', async () => {
    const raw = await upgraded();
    const header = webSocketFrame({ opcode: OPCODE.text, payload: 'x'.repeat(65_536) }).subarray(0, 14);
    header.writeBigUInt64BE(2n ** 62n, 2);
    raw.write(header);
    await raw.waitForEnd();
  });

  it('a message in many fragments has the limit of one frame', async () => {
    const raw = await upgraded();
    const payload = 'x'.repeat(4096);
    raw.write(webSocketFrame({ opcode: OPCODE.text, payload, fin: false }));
    for (let n = 0; n < 30; n += 1) raw.write(webSocketFrame({ opcode: OPCODE.continuation, payload, fin: false }));
    await raw.waitForEnd();
  });

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

  it('thousands of subscriptions over the limit get an error each, and the connection keeps what it has', async () => {
    const client = await connect();
    const total = 3_000;
    const replies: WireObject[] = [];
    for (let first = 1; first <= total; first += 64) {
      const part = upTo(Math.min(64, total - first + 1)).map((n) => ({
        type: 'subscribe',
        channel: `many-${first + n}`,
      }));
      replies.push(...(await client.commands(part)));
    }
    expect(replies.filter(({ type }) => type === 'subscribed')).toHaveLength(MAX_SUBSCRIPTIONS);
    expect(replies.filter(({ code }) => code === 106)).toHaveLength(total - MAX_SUBSCRIPTIONS);
    expect(await gateway.metric('weir_subscriptions')).toBe(MAX_SUBSCRIPTIONS);
  });

  it('a connection that ends while its subscriptions open leaves none behind', async () => {
    for (const cut of upTo(10)) {
      const client = await connect({ connect: false });
      client.send(upTo(60).map((n) => ({ type: 'subscribe', id: n, channel: `cut-${cut}-${n}` })));
      client.terminate();
    }
  });
});

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
    ['DELETE', '/v1/channels/c', 'GET'],
    ['PUT', '/v1/batch', 'POST'],
    ['POST', '/v1/stats', 'GET'],
    ['POST', '/health/live', 'GET'],
    ['POST', '/v1/ws', 'GET'],
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

describe('violations of RFC 6455', () => {
  const frame = webSocketFrame;
  it.each([
    ['reserved bits', frame({ opcode: OPCODE.text, payload: '{}', reserved: 4 })],
    ['an unknown opcode', frame({ opcode: 3, payload: 'x' })],
    ['an unknown control opcode', frame({ opcode: 11, payload: 'x' })],
    ['a fragmented ping', frame({ opcode: OPCODE.ping, payload: 'x', fin: false })],
    ['a ping of 126 bytes', frame({ opcode: OPCODE.ping, payload: 'x'.repeat(126) })],
    ['a continuation of nothing', frame({ opcode: OPCODE.continuation, payload: 'x' })],
    ['text that is no UTF-8', frame({ opcode: OPCODE.text, payload: Buffer.from([0xc3, 0x28]) })],
    ['a close frame of one byte', frame({ opcode: OPCODE.close, payload: 'x' })],
  ])('%s: the connection ends', async (_, bytes) => {
    const raw = await upgraded();
    raw.write(bytes);
    await raw.waitForEnd();
  });

  it('a frame cut short by a lost machine leaves nothing', async () => {
    for (const bytes of [
      frame({ opcode: OPCODE.text, payload: '{"type":"ping"', announcedLength: 5000 }),
      frame({ opcode: OPCODE.text, payload: '' }).subarray(0, 3),
    ]) {
      const raw = await upgraded();
      raw.write(bytes);
      raw.reset();
    }
  });

  it('an upgrade that is reset at once leaves nothing', async () => {
    for (let n = 0; n < 20; n += 1) {
      const raw = await gateway.raw();
      raw.write(upgradeRequest('/v1/ws'));
      raw.reset();
    }
  });
});

describe('a reader that does not read', () => {
  it('is closed with 3008 at its bound, while others miss nothing', async () => {
    const channel = 'slow-reader';
    const [slow, ...others] = await Promise.all(upTo(4).map(() => connect()));
    await Promise.all([slow!, ...others].map((client) => client.expect('subscribe', { channel })));
    slow!.pause();
    const closedBefore = await gateway.metric('weir_connections_closed_total');
    let published = 0;
    // The kernel hides megabytes before the node sees that nobody reads.
    await waitFor(
      async () => {
        const commands = upTo(40).map(() => ({
          publish: { channel, data: { n: ++published, text: 'x'.repeat(1_000) } },
        }));
        expect((await gateway.api('/v1/batch', { body: { commands } })).status).toBe(200);
        return (await gateway.metric('weir_connections_closed_total')) > closedBefore;
      },
      { timeoutMs: 20_000, description: () => `the slow reader to be closed; ${published} published` },
    );
    for (const other of others) {
      const messages = await other.waitForMessages(published);
      expect(messages.map(({ offset }) => offset)).toEqual(upTo(published));
    }
    slow!.resume();
    expect(await slow!.waitForClose()).toMatchObject({ code: 3008 });
    // What it did get before the end is a beginning without holes.
    const got = slow!.messages().map(({ offset }) => offset);
    expect(got).toEqual(upTo(got.length));
  });

  it('that asks for much and reads nothing has the same bound', async () => {
    const channel = 'greedy';
    const commands = upTo(60).map(() => ({ publish: { channel, data: 'x'.repeat(1_000) } }));
    await gateway.api('/v1/batch', { body: { commands } });
    const client = await connect();
    client.pause();
    const closedBefore = await gateway.metric('weir_connections_closed_total');
    await waitFor(
      async () => {
        client.send(upTo(30).map((id) => ({ type: 'history', id: 1000 + id, channel })));
        return (await gateway.metric('weir_connections_closed_total')) > closedBefore;
      },
      { timeoutMs: 20_000, description: 'the greedy client to be closed' },
    );
    client.resume();
    expect(await client.waitForClose()).toMatchObject({ code: 3008 });
  });
});

describe('half-open connections', () => {
  it('are cut after a while, answered nothing good, and hindered nobody meanwhile', async () => {
    for (const raw of halfOpen) expect(await raw.waitForEnd(20_000)).not.toMatch(/ 101 | 200 /);
  });
});

describe('any input at all', () => {
  const types = [
    'connect',
    'subscribe',
    'unsubscribe',
    'publish',
    'history',
    'ping',
    'refresh',
    'presence',
    'ack',
    'rpc',
  ];
  const valid = fc.oneof(
    fc.record({ type: fc.constant('subscribe'), channel: fc.constantFrom('p1', 'p2', 'ns:p3') }),
    fc.record({ type: fc.constant('unsubscribe'), channel: fc.constantFrom('p1', 'p2', 'ns:p3') }),
    fc.record({
      type: fc.constant('publish'),
      channel: fc.constantFrom('p1', 'p2'),
      data: fc.jsonValue({ maxDepth: 3 }),
    }),
    fc.record({ type: fc.constant('history'), channel: fc.constant('p1'), limit: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ type: fc.constantFrom(...types) }),
  );
  const fields = [
    'type',
    'channel',
    'data',
    'since',
    'limit',
    'messageId',
    'key',
    'policy',
    'token',
    'offset',
    '__proto__',
  ];
  /** A command with one field replaced or added by any JSON value, or none. */
  const mutated = fc
    .tuple(valid, fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 2 }))
    .map(([command, field, value]) => Object.fromEntries([...Object.entries(command), [field, value]]) as object);
  const anything = fc.oneof(valid, mutated, fc.dictionary(fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 2 })));

  it('gets exactly one reply per id, and never ends the connection', async () => {
    const client = await connect();
    let nextId = 1000;
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { minLength: 1, maxLength: 30 }), async (commands) => {
        const numbered = commands.map((command) => ({ ...command, id: nextId++ }));
        const [{ id: first } = { id: 0 }] = numbered;
        const replied = (): number[] =>
          client.received.flatMap(({ id }) => (id !== undefined && id >= first ? [id] : []));
        // A good command after each keeps the count of bad ones in a row below its limit.
        client.send(numbered.flatMap((command) => [command, { type: 'ping' }]));
        await waitFor(() => replied().length >= numbered.length, {
          description: () =>
            `${numbered.length} replies to ${JSON.stringify(numbered)}; closed: ${client.closed()?.code}`,
        });
        // A second reply would come before this one.
        await client.expect('ping');
        const ids = replied().filter((id) => id >= 1000);
        expect(ids.sort((a, b) => a - b)).toEqual(numbered.map(({ id }) => id));
      }),
      { numRuns: 100 },
    );
  });

  it('frames with characters changed, added or cut never end the connection', async () => {
    const client = await connect();
    const edit = fc.record({ at: fc.nat(80), cut: fc.nat(3), text: fc.string({ unit: 'binary', maxLength: 3 }) });
    const spoil = (frame: string, edits: readonly { at: number; cut: number; text: string }[]): string =>
      edits.reduce((text, { at, cut, text: added }) => text.slice(0, at) + added + text.slice(at + cut), frame);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(valid, fc.array(edit, { maxLength: 4 })), { minLength: 1, maxLength: 9 }),
        async (frames) => {
          for (const [command, edits] of frames) client.send(spoil(JSON.stringify(command), edits));
          expect(await client.command('ping')).toMatchObject({ type: 'pong' });
        },
      ),
      { numRuns: 100 },
    );
  });
});
