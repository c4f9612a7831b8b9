// Revocation over real nodes and one Redis: every node, nodes that join later, and a Redis that lost what it had.
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createKept,
  type NodeProcess,
  openWsClient,
  type RedisProcess,
  requestJson,
  signToken,
  startKeyIssuer,
  startNode,
  startRedis,
  TOKEN_SECRET,
  waitFor,
  type WsClient,
} from '../support/index.ts';

const API_KEY = 'secret-of-the-revocation-test-0123456789';
let redis: RedisProcess;
let inspector: Redis;
const { keep, giveBack } = createKept();
const open = async (name: string, env: Readonly<Record<string, string>> = {}): Promise<NodeProcess> =>
  keep(
    await startNode({
      name,
      apiKey: API_KEY,
      env: { WEIR_BROKER: 'redis', WEIR_REDIS_URL: redis.url, WEIR_JWT_SECRET: TOKEN_SECRET, ...env },
    }),
  );
const connect = async ({ url }: NodeProcess, token: string): Promise<WsClient> =>
  keep(await openWsClient(`${url.replace('http', 'ws')}/v1/ws`, { connect: { token } }));
/** `connected`, or the close code after a refusal. */
const tryConnect = async (
  { url }: NodeProcess,
  fields: Readonly<Record<string, unknown>>,
): Promise<string | number> => {
  await using client = await openWsClient(`${url.replace('http', 'ws')}/v1/ws`, { connect: false });
  const reply = await client.command('connect', fields);
  return reply.type === 'connected' ? reply.type : (await client.waitForClose()).code;
};
const call = async ({ url }: NodeProcess, path: string, body: unknown): Promise<unknown> => {
  const answer = await requestJson(url + path, { apiKey: API_KEY, body });
  expect(answer.status, answer.text).toBe(200);
  return answer.body;
};

beforeAll(async () => {
  redis = await startRedis();
  inspector = new Redis(redis.url);
});
afterEach(async () => {
  await giveBack();
  await inspector.flushall();
});
afterAll(async () => {
  inspector.disconnect();
  await redis[Symbol.asyncDispose]();
});

describe('revoking a user on one node', () => {
  it('closes on all nodes, and holds on nodes that join later and after Redis lost everything', async () => {
    const [a, b] = await Promise.all([open('a'), open('b')]);
    const token = signToken({ sub: 'ada' });
    const clients = await Promise.all([connect(a, token), connect(b, token)]);
    const bystander = await connect(b, signToken({ sub: 'bob' }));
    expect(await call(a, '/v1/revoke', { user: 'ada' })).toMatchObject({ disconnected: 2 });
    for (const client of clients) expect(await client.waitForClose()).toMatchObject({ code: 3507 });
    for (const node of [a, b, await open('late')]) expect(await tryConnect(node, { token })).toBe(3500);
    expect(await bystander.command('ping')).toMatchObject({ type: 'pong' });

    await inspector.flushall();
    await waitFor(async () => (await inspector.keys('*revocations*')).length > 0, {
      description: 'a node to give the revocations back',
    });
    expect(await tryConnect(await open('later'), { token })).toBe(3500);
  });

  it('reaches a node that did not hear it: it was written by somebody while the node could not be told', async () => {
    const a = await open('a');
    const token = signToken({ sub: 'ada', jti: 'j1' });
    const client = await connect(a, token);
    // As another node would, which then dies before it tells anybody.
    const { createRedisBroker } = await import('../../broker/redis/redis-broker.ts');
    const broker = createRedisBroker({ url: redis.url, prefix: 'weir', node: 'dies' });
    await broker.start({
      onPublications: () => undefined,
      onEphemeral: () => undefined,
      onInterrupted: () => undefined,
      onRestored: () => undefined,
      onHealth: () => undefined,
      tails: () => [],
      onError: () => undefined,
    });
    const nowMs = Date.now();
    await broker.revocations.add([{ kind: 'token', value: 'j1', atMs: nowMs, untilMs: nowMs + 60_000 }]);
    await broker.close();
    expect(await client.waitForClose()).toMatchObject({ code: 3507 });
    expect(await tryConnect(a, { token })).toBe(3500);
  });

  it('holds while Redis is away and in the empty one that follows; one made meanwhile is answered 503 and not made', async () => {
    const first = keep(await startRedis());
    const env = { WEIR_REDIS_URL: first.url };
    const a = await open('a', env);
    const [revoked, other] = [signToken({ sub: 'ada' }), signToken({ sub: 'bob' })];
    await call(a, '/v1/revoke', { user: 'ada' });
    await first.stop();
    expect(await tryConnect(a, { token: revoked })).toBe(3500);
    const answer = await requestJson(`${a.url}/v1/revoke`, { apiKey: API_KEY, body: { user: 'bob' } });
    expect(answer.status).toBe(503);
    expect(await tryConnect(a, { token: other })).toBe('connected');
    keep(await startRedis({ port: first.port }));
    const probe = new Redis(first.url);
    await waitFor(async () => (await probe.keys('*revocations*')).length > 0, {
      description: 'the node to give the revocations to the new Redis',
    }).finally(() => probe.disconnect());
    expect(await tryConnect(await open('late', env), { token: revoked })).toBe(3500);
  });
});

describe('managing on one node', () => {
  it('reaches the connections of every node', async () => {
    const [a, b] = await Promise.all([open('a'), open('b')]);
    const token = signToken({ sub: 'ada', weir: { subscribe: [] } });
    const clients = await Promise.all([connect(a, token), connect(b, token)]);
    const list = async (query: string) =>
      (await requestJson(`${a.url}/v1/connections?${query}`, { apiKey: API_KEY })).body as {
        connections: { connection: string; node: string }[];
      };
    const page = await list('user=ada');
    expect(page.connections.map(({ node }) => node).sort()).toEqual(['a', 'b']);
    const onB = page.connections.find(({ node }) => node === 'b')!.connection;
    const explained = await requestJson(`${a.url}/v1/connections/${onB}/explain`, { apiKey: API_KEY });
    expect(explained.body).toMatchObject({ connection: onB, node: 'b' });
    expect(await call(a, '/v1/subscribe', { user: 'ada', channel: 'c' })).toEqual({ affected: 2 });
    await call(b, '/v1/publish', { channel: 'c', data: 1 });
    for (const client of clients) await client.waitForMessages(1, 'c');
    expect(await call(b, '/v1/unsubscribe', { user: 'ada', channel: 'c' })).toEqual({ affected: 2 });
    expect(await call(a, '/v1/disconnect', { connection: onB })).toEqual({ disconnected: 1 });
    expect(await call(b, '/v1/disconnect', { user: 'ada' })).toEqual({ disconnected: 1 });
  });

  it('what the application subscribed comes back with the session on another node, although the token does not grant it', async () => {
    const [a, b] = await Promise.all([open('a'), open('b')]);
    const token = signToken({ sub: 'ada', weir: { subscribe: [] } });
    const client = await connect(a, token);
    await call(a, '/v1/subscribe', { user: 'ada', channel: 'given' });
    const session = client.connected?.['session'] as string;
    await waitFor(async () => (await inspector.keys(`*session:${session}`)).length > 0, {
      description: 'the session to be saved',
    });
    client.terminate();
    const again = keep(await openWsClient(`${b.url.replace('http', 'ws')}/v1/ws`, { connect: { token, session } }));
    expect(await again.waitForPush('subscribed')).toMatchObject({ channel: 'given' });
  });
});

describe('rotation of the issuer’s keys', () => {
  it('refuses no client: the new key is fetched when the first token of it comes', async () => {
    await using issuer = await startKeyIssuer(2);
    const node = await open('a', { WEIR_JWKS_URL: issuer.url, WEIR_JWKS_MIN_INTERVAL_MS: '300' });
    expect(await tryConnect(node, { token: issuer.sign(0, 'ada') })).toBe('connected');
    issuer.publish(0, 1);
    const users = Array.from({ length: 40 }, (_, n) => n);
    const results = await Promise.all(users.map((n) => tryConnect(node, { token: issuer.sign(n % 2, `user-${n}`) })));
    expect(new Set(results)).toEqual(new Set(['connected']));
    await issuer.close();
    expect(await tryConnect(node, { token: issuer.sign(1, 'eve') })).toBe('connected');
    expect(await tryConnect(node, { token: issuer.sign(0, 'x', { keyid: 'k9' }) })).toBe(1013);
  });
});
