// Opening handshakes that are wrong: what is answered before any upgrade, directly and through HAProxy (RFC 6455 §4).
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { parseExposition } from '../gateway/gateway-under-test.ts';
import { OPCODE, openRawSocket, requestJson, upgradeRequest, waitFor, webSocketFrame } from '../support/index.ts';
import { converse } from './conversation.ts';
import { ECHO_API_KEY, type EchoUnderTest, startEcho } from './echo-node.ts';

let echo: EchoUnderTest;
beforeAll(async () => {
  echo = await startEcho(16 * 1024, {
    WEIR_MAX_OUTBOX_BYTES: String(64 * 1024),
    WEIR_ALLOWED_ORIGINS: 'https://app.example',
  });
});
afterAll(() => echo[Symbol.asyncDispose]());

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
/** RFC 6455 §1.3. */
const acceptOf = (key: string): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

const answerTo = async (port: number, request: string): Promise<string> => {
  await using raw = await openRawSocket(port);
  raw.write(request);
  // Every refusal has a body, written at once; a connection may also be ended without an answer.
  await waitFor(() => /\r\n\r\n./.test(raw.text()) || raw.socket.readableEnded || raw.socket.closed, {
    description: () => `an answer; so far ${raw.text()}`,
  });
  return raw.text();
};
const metric = async (name: string): Promise<number> => {
  const { text } = await requestJson(`${echo.node.url}/metrics`, { apiKey: ECHO_API_KEY });
  return parseExposition(text).get(name) ?? 0;
};

describe.each(['directly', 'through HAProxy'] as const)('%s', (way) => {
  it('the key is answered as RFC 6455 says, without sub-protocol or extension nobody chose', async () => {
    expect(acceptOf(KEY)).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    await using client = await converse(echo.ports[way], { 'Sec-WebSocket-Key': KEY });
    expect(client.head).toMatch(/\r\nupgrade: websocket\r\n/i);
    expect(client.head).toMatch(/\r\nconnection: upgrade\r\n/i);
    expect(client.head.toLowerCase()).toContain(`sec-websocket-accept: ${acceptOf(KEY).toLowerCase()}`);
    expect(client.head).not.toMatch(/sec-websocket-(protocol|extensions)/i);
  });

  it('the sub-protocol of the dialect is chosen out of several', async () => {
    await using client = await converse(echo.ports[way], { 'Sec-WebSocket-Protocol': 'x, weir.v1.json' }, '/v1/ws');
    expect(client.head).toMatch(/\r\nsec-websocket-protocol: weir\.v1\.json\r\n/i);
  });

  it.each<readonly [string, Readonly<Record<string, string | undefined>>, RegExp]>([
    ['no version', { 'Sec-WebSocket-Version': undefined }, /^HTTP\/1\.1 4(26|00) /],
    ['an old version', { 'Sec-WebSocket-Version': '8' }, /^HTTP\/1\.1 426 [^]*sec-websocket-version: 13/i],
    ['a key that is too short', { 'Sec-WebSocket-Key': 'abc' }, /^HTTP\/1\.1 4(26|00) /],
    ['a key that is no base64', { 'Sec-WebSocket-Key': '!'.repeat(24) }, /^HTTP\/1\.1 400 /],
    ['no key', { 'Sec-WebSocket-Key': undefined }, /^HTTP\/1\.1 4(26|00) /],
    ['another upgrade', { Upgrade: 'h2c' }, /^HTTP\/1\.1 4(26|00) /],
    ['an unknown sub-protocol', { 'Sec-WebSocket-Protocol': 'mqtt' }, /^HTTP\/1\.1 400 /],
    ['a sub-protocol twice', { 'Sec-WebSocket-Protocol': 'weir.v1.json, weir.v1.json' }, /^HTTP\/1\.1 400 /],
    ['an empty sub-protocol', { 'Sec-WebSocket-Protocol': 'weir.v1.json,' }, /^HTTP\/1\.1 400 /],
    ['extensions that are none', { 'Sec-WebSocket-Extensions': 'permessage-deflate;;' }, /^HTTP\/1\.1 400 /],
    ['a foreign origin', { Origin: 'https://evil.example' }, /^HTTP\/1\.1 403 /],
    ['a null origin', { Origin: 'null' }, /^HTTP\/1\.1 403 /],
  ])('%s is refused before the upgrade', async (_, headers, expected) => {
    const answer = await answerTo(echo.ports[way], upgradeRequest('/v1/ws', headers));
    expect(answer).toMatch(expected);
    expect(answer).not.toMatch(/ 101 /);
  });

  it.each([
    ['another method', upgradeRequest('/v1/ws').replace('GET', 'POST')],
    ['HTTP/1.0', upgradeRequest('/v1/ws').replace('HTTP/1.1', 'HTTP/1.0')],
    ['no host', upgradeRequest('/v1/ws', { Host: undefined })],
  ])('%s is no upgrade', async (_, request) => {
    expect(await answerTo(echo.ports[way], request)).not.toMatch(/^HTTP\/1\.[01] [12]/);
  });

  it('an allowed origin passes', async () => {
    await using client = await converse(echo.ports[way], { Origin: 'https://app.example' }, '/v1/ws');
    expect(client.head).toMatch(/^HTTP\/1\.1 101 /);
  });
});

it('a handshake without Connection: Upgrade is refused by the node, whatever else it asks', async () => {
  const answer = await answerTo(echo.node.port, upgradeRequest('/v1/ws', { Connection: 'keep-alive' }));
  expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*Connection: expected Upgrade/);
});

it('refusals are counted by the rule they break', async () => {
  const name = 'weir_connections_refused_total{reason="key"}';
  const before = await metric(name);
  await answerTo(echo.node.port, upgradeRequest('/v1/ws', { 'Sec-WebSocket-Key': '!'.repeat(24) }));
  expect(await metric(name)).toBe(before + 1);
});

it('who pings on and reads no pong is closed at the bound of its outbox', async () => {
  await using client = await converse(echo.node.port, {}, '/v1/ws');
  client.raw.socket.pause();
  const name = 'weir_connections_closed_total{code="3008"}';
  const before = await metric(name);
  const pings = Buffer.concat(
    Array.from({ length: 500 }, () => webSocketFrame({ opcode: OPCODE.ping, payload: 'x'.repeat(125) })),
  );
  await waitFor(
    async () => {
      if (client.raw.socket.writableLength < 4 * pings.length) client.raw.write(pings);
      return (await metric(name)) === before + 1;
    },
    { timeoutMs: 20_000, description: 'the close with 3008' },
  );
});

it('a node that was not told to serve the echo has none', async () => {
  await using plain = await startEcho(16 * 1024, { WEIR_CONFORMANCE_ECHO: 'false' });
  expect(await answerTo(plain.node.port, upgradeRequest('/v1/echo'))).toMatch(/^HTTP\/1\.1 404 /);
});
