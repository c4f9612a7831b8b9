// Limits of one node with tight bounds: what is refused, with which code and delay, and when a connection ends for it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  signToken,
  type TemporaryDirectory,
  temporaryDirectory,
  TOKEN_SECRET,
  waitFor,
  type WireObject,
  type WsClient,
} from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, parseExposition, startGatewayUnderTest } from './gateway-under-test.ts';

const OTHER_KEY = 'other-key-of-the-test-0123456789';
const CONFIG = `
namespaces:
  default: {}
  slow: {rate: 2/1h}
`;
/** Nothing refills while a test runs. */
const LIMITS = {
  WEIR_API_KEYS: `dev=${API_KEY},other=${OTHER_KEY}`,
  WEIR_MAX_COMMAND_RATE: '40/1h',
  WEIR_MAX_PUBLISH_RATE: '5/1h',
  WEIR_MAX_BYTE_RATE: '20KiB/1h',
  WEIR_MAX_REFUSAL_RATE: '30/1h',
  WEIR_MAX_IP_PUBLISH_RATE: '12/1h',
  WEIR_MAX_IP_CONNECTIONS: '3',
  WEIR_MAX_API_KEY_PUBLISH_RATE: '10/1h',
  WEIR_MAX_SUBSCRIPTIONS: '2',
  WEIR_MAX_USER_SUBSCRIPTIONS: '3',
  WEIR_JWT_SECRET: TOKEN_SECRET,
  WEIR_MAX_HANDSHAKES: '8',
  // Nobody is silent for too long while a test runs.
  WEIR_CONNECT_DEADLINE_MS: '10m',
};

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  directory = await temporaryDirectory('limits');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, CONFIG);
  gateway = await startGatewayUnderTest({ WEIR_CONFIG: file, ...LIMITS });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(async () => {
  await gateway.stop();
  await directory.remove();
});

let addresses = 0;
const freshAddress = (): string => `203.0.113.${++addresses}`;
const connectFrom = (address: string, more: object = {}): Promise<WsClient> =>
  gateway.connect({ headers: { 'X-Real-IP': address }, ...more });
const limited = async (reason: string): Promise<number> => {
  const { text } = await gateway.api('/metrics');
  return parseExposition(text).get(`weir_limited_total{reason="${reason}"}`) ?? 0;
};
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const errorsOf = (replies: readonly WireObject[]): WireObject[] => replies.filter(({ type }) => type === 'error');

describe('commands of a connection', () => {
  it('beyond the burst are 111, each with a later moment, and the others are answered', async () => {
    const before = await limited('commands');
    const client = await gateway.connect();
    const replies = await client.commands(upTo(49).map(() => ({ type: 'ping' })));
    // `connect` was the first of the 40.
    expect(replies.slice(0, 39).map(({ type }) => type)).toEqual(upTo(39).map(() => 'pong'));
    const errors = replies.slice(39);
    expect(errors).toHaveLength(10);
    for (const error of errors) expect(error).toMatchObject({ code: 111, name: 'too_many_requests', temporary: true });
    const delays = errors.map((error) => error['retryAfterMs'] as number);
    for (const [n, delayMs] of delays.entries()) {
      expect(delayMs).toBeGreaterThan(n === 0 ? 0 : delays[n - 1]!);
      expect(delayMs).toBeLessThanOrEqual((n + 1) * 90_000);
    }
    expect(await limited('commands')).toBe(before + 10);
  });

  it('that go on far beyond end the connection with 3013', async () => {
    const client = await gateway.connect();
    for (let n = 0; n < 2; n++) client.send(upTo(40).map(() => ({ type: 'ping' })));
    expect(await client.waitForClose()).toMatchObject({ code: 3013, reason: 'rate_limited' });
    expect(client.pushes.filter(({ type, code }) => type === 'error' && code === 111)).toHaveLength(31);
  });

  it('are ten acknowledgements each', async () => {
    const client = await gateway.connect();
    for (let n = 0; n < 3; n++) client.send(upTo(60).map(() => ({ type: 'ack', channel: 'none', offset: 1 })));
    await client.expect('ping');
    expect(client.pushes.filter(({ code }) => code === 111)).toEqual([]);
  });

  it('in frames of more bytes than the rate are 111', async () => {
    const client = await gateway.connect();
    const padded = (): Promise<WireObject> => client.command('ping', { padding: 'x'.repeat(9000) });
    expect([await padded(), await padded(), await padded()]).toMatchObject([
      { type: 'pong' },
      { type: 'pong' },
      { type: 'error', code: 111, message: expect.stringContaining('bytes') as string },
    ]);
  });
});

describe('publishes', () => {
  const publishes = (client: WsClient, channel: string, count: number): Promise<WireObject[]> =>
    client.commands(upTo(count).map((data) => ({ type: 'publish', channel, data })));

  it('of a connection beyond its rate are 111, in the order of the others', async () => {
    const replies = await publishes(await gateway.connect(), 'free', 8);
    expect(replies.slice(0, 5).map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5]);
    expect(replies.slice(5).map(({ code }) => code)).toEqual([111, 111, 111]);
  });

  it('to one channel beyond the rate of its namespace are 111, other channels are not touched', async () => {
    const client = await gateway.connect();
    const first = await publishes(client, 'slow:a', 3);
    expect(first.map(({ type }) => type)).toEqual(['published', 'published', 'error']);
    expect(first[2]).toMatchObject({ code: 111, retryAfterMs: expect.any(Number) as number });
    expect(errorsOf(await publishes(client, 'slow:b', 1))).toEqual([]);
    expect(await limited('channel_publishes')).toBe(1);
  });

  it('of all connections of an address share a rate, and another address has its own', async () => {
    const address = freshAddress();
    const clients = [await connectFrom(address), await connectFrom(address), await connectFrom(address)];
    const replies = await Promise.all(clients.map((client) => publishes(client, 'shared', 5)));
    expect(errorsOf(replies.flat())).toHaveLength(3);
    expect(await limited('ip_publishes')).toBe(3);
    expect(errorsOf(await publishes(await connectFrom(freshAddress()), 'shared', 5))).toEqual([]);
  });

  it('by HTTP with one API key beyond its rate are 429 with Retry-After, as a whole; another key has its own', async () => {
    const call = (apiKey: string, count: number) =>
      gateway.api('/v1/publish', { apiKey, body: { channels: upTo(count).map((n) => `http-${n}`), data: 1 } });
    expect((await call(OTHER_KEY, 7)).status).toBe(200);
    const refused = await call(OTHER_KEY, 7);
    expect(refused).toMatchObject({ status: 429, body: { code: 111, retryAfterMs: expect.any(Number) as number } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(1);
    expect((await gateway.api('/v1/channels/http-1')).body).toMatchObject({ offset: 1 });
    const commands = upTo(4).map(() => ({ publish: { channel: 'http-1', data: 1 } }));
    expect((await gateway.api('/v1/batch', { apiKey: OTHER_KEY, body: { commands } })).status).toBe(429);
    expect((await call(OTHER_KEY, 3)).status).toBe(200);
    expect((await call(API_KEY, 1)).status).toBe(200);
    expect(await limited('api_key_publishes')).toBe(2);
  });
});

describe('subscriptions of a connection', () => {
  it('beyond the bound are 106, and end it with 3505 when it asks on', async () => {
    const client = await gateway.connect();
    const channels = upTo(35).map((n) => ({ type: 'subscribe', channel: `c${n}` }));
    client.send(channels);
    expect(await client.waitForClose()).toMatchObject({ code: 3505, reason: 'too_many_subscriptions' });
    expect(client.pushes.filter(({ code }) => code === 106)).toHaveLength(31);
  });
});

it('subscriptions of a user beyond the bound are 106 whatever connection asks; what ends or closes makes room', async () => {
  const connect = (sub: string): Promise<WsClient> => gateway.connect({ connect: { token: signToken({ sub }) } });
  const subscribe = async (client: WsClient, channel: string): Promise<string> => {
    const { type, message } = await client.command('subscribe', { channel });
    return type === 'error' ? String(message) : type;
  };
  const refused = expect.stringContaining('at most 3 subscriptions per user') as string;
  const [one, two] = [await connect('ada'), await connect('ada')];
  expect([await subscribe(one, 'a'), await subscribe(one, 'b'), await subscribe(two, 'a')]).toEqual(
    upTo(3).map(() => 'subscribed'),
  );
  expect(await subscribe(two, 'b')).toEqual(refused);
  expect(await subscribe(await connect('bob'), 'b')).toBe('subscribed');
  await one.command('unsubscribe', { channel: 'a' });
  expect([await subscribe(two, 'b'), await subscribe(one, 'a')]).toEqual(['subscribed', refused]);
  await two.close();
  await waitFor(async () => (await subscribe(one, 'a')) === 'subscribed', {
    description: 'the subscriptions of the closed connection to be given back',
  });
});

describe('connections of an address', () => {
  it('beyond the bound are closed with 3504, and one that leaves makes room', async () => {
    const address = freshAddress();
    const clients = [await connectFrom(address), await connectFrom(address), await connectFrom(address)];
    const extra = await connectFrom(address, { connect: false });
    extra.send({ type: 'connect', id: 1 });
    expect(await extra.waitForClose()).toMatchObject({ code: 3504 });
    expect(await limited('ip_connections')).toBe(1);
    await clients[0]!.close();
    expect((await connectFrom(address)).connected).toMatchObject({ type: 'connected' });
    expect((await connectFrom(freshAddress())).connected).toMatchObject({ type: 'connected' });
  });

  it('are those of its /64 network with IPv6', async () => {
    for (const host of [1, 2, 3]) await connectFrom(`2001:db8::${host}`);
    const extra = await connectFrom('2001:db8::ffff:4', { connect: false });
    extra.send({ type: 'connect', id: 1 });
    expect(await extra.waitForClose()).toMatchObject({ code: 3504 });
    expect((await connectFrom('2001:db8:0:1::4')).connected).toMatchObject({ type: 'connected' });
  });
});

it('sockets that never say connect are refused with 503 beyond the bound, those that did count no more', async () => {
  for (let n = 0; n < 4; n++) await gateway.connect();
  const silent: WsClient[] = [];
  for (let n = 0; n < 8; n++) silent.push(await gateway.connect({ connect: false }));
  const refused = await gateway.connect({ connect: false }).catch((error: unknown) => error);
  expect(refused).toMatchObject({ name: 'UpgradeRefused', status: 503 });
  const { headers, body } = refused as { headers: Record<string, string>; body: string };
  expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
  expect(JSON.parse(body)).toMatchObject({ code: 115, retryAfterMs: expect.any(Number) as number });
  await silent[0]!.close();
  await waitFor(async () => (await gateway.metric('weir_connections_outside')) === 7, {
    description: 'the node to notice that one left',
  });
  expect((await gateway.connect()).connected).toMatchObject({ type: 'connected' });
});
