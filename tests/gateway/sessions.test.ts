// Sessions over two node processes and one Redis: what a client had comes back on whatever node it connects to next.
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  type FaultProxy,
  type NodeProcess,
  openWsClient,
  type RedisProcess,
  requestJson,
  startFaultProxy,
  startNode,
  startRedis,
  waitFor,
  type WsClient,
} from '../support/index.ts';
import { signToken, TOKEN_SECRET } from '../support/tokens.ts';
import { API_KEY, parseExposition } from './gateway-under-test.ts';

const NEVER_ISSUED = 'AAAAAAAAAAAAAAAAAAAAAA';

let redis: RedisProcess;
let inspector: Redis;
let a: NodeProcess;
let b: NodeProcess;
let opened: AsyncDisposable[] = [];
beforeAll(async () => {
  redis = await startRedis();
  inspector = new Redis(redis.url);
  [a, b] = await Promise.all([start('node-a'), start('node-b')]);
});
afterEach(async () => {
  for (const one of opened.reverse()) await one[Symbol.asyncDispose]();
  opened = [];
});
afterAll(async () => {
  await Promise.all([a.stop(), b.stop()]);
  inspector.disconnect();
  await redis.stop();
});

const start = (name: string, env: Readonly<Record<string, string>> = {}): Promise<NodeProcess> =>
  startNode({ name, redisUrl: redis.url, apiKey: API_KEY, env: { WEIR_JWT_SECRET: TOKEN_SECRET, ...env } });
const startOwn = async (name: string, env: Readonly<Record<string, string>> = {}): Promise<NodeProcess> => {
  const node = await start(name, env);
  opened.push(node);
  return node;
};

const connect = async (node: NodeProcess, fields: Readonly<Record<string, unknown>> = {}): Promise<WsClient> => {
  const client = await openWsClient(`${node.url.replace('http', 'ws')}/v1/ws`, { connect: fields });
  opened.push(client);
  return client;
};
const sessionOf = (client: WsClient): string => client.connected?.['session'] as string;

let channels = 0;
const fresh = (): string => `session-${++channels}`;
const publish = async (node: NodeProcess, channel: string, count: number): Promise<{ epoch: string }> => {
  const commands = Array.from({ length: count }, (_, n) => ({ publish: { channel, data: n } }));
  const { body } = await requestJson(`${node.url}/v1/batch`, { apiKey: API_KEY, body: { commands } });
  return (body as { results: { epoch: string }[] }).results.at(-1)!;
};
const offsets = (client: WsClient, channel?: string): unknown[] => client.messages(channel).map(({ offset }) => offset);
const metric = async (node: NodeProcess, name: string): Promise<number> => {
  const { text } = await requestJson(`${node.url}/metrics`, { apiKey: API_KEY });
  return [...parseExposition(text)].reduce((sum, [key, value]) => (key.startsWith(name) ? sum + value : sum), 0);
};

/** Resolves when Redis has the session with exactly these cursors. */
const saved = (session: string, cursors: Readonly<Record<string, number>>): Promise<unknown> => {
  let found = '';
  return waitFor(
    async () => {
      const [key] = await inspector.keys(`*:session:${session}`);
      found = (key === undefined ? null : await inspector.hget(key, 'subscriptions')) ?? 'nothing';
      const list = JSON.parse(found) as { channel: string; position: { offset: number } }[];
      const written = Object.fromEntries(list.map(({ channel, position }) => [channel, position.offset]));
      return JSON.stringify(Object.entries(written).sort()) === JSON.stringify(Object.entries(cursors).sort());
    },
    { timeoutMs: 15_000, description: () => `the session to be saved as ${JSON.stringify(cursors)}, it is ${found}` },
  );
};

describe('a session after kill -9 of its node', () => {
  it('comes back on another node: subscribed pushes without id, then exactly what was missed', async () => {
    const doomed = await startOwn('doomed');
    const [one, two] = [fresh(), fresh()];
    const client = await connect(doomed);
    const { epoch } = await client.expect('subscribe', { channel: one });
    await client.expect('subscribe', { channel: two, policy: 'all' });
    await publish(a, one, 3);
    await client.waitForMessages(3, one);
    await saved(sessionOf(client), { [one]: 3, [two]: 0 });
    doomed.kill('SIGKILL');
    await client.waitForClose();
    await publish(a, one, 2);
    const again = await connect(b, { session: sessionOf(client) });
    expect(sessionOf(again)).toBe(sessionOf(client));
    const push = await again.waitForPush('subscribed', ({ channel }) => channel === one);
    expect(push).toEqual({ type: 'subscribed', channel: one, epoch, offset: 3, recovered: true, policy: 'all' });
    await again.waitForPush('subscribed', ({ channel }) => channel === two);
    await again.waitForMessages(2, one);
    await publish(a, two, 1);
    await again.waitForMessages(1, two);
    await publish(a, one, 1);
    await again.waitForMessages(3, one);
    expect(offsets(again, one)).toEqual([4, 5, 6]);
    expect(again.gaps()).toEqual([]);
    const types = again.received.filter(({ channel }) => channel === one).map(({ type }) => type);
    expect(types).toEqual(['subscribed', 'message', 'message', 'message']);
    expect(again.received[0]).toMatchObject({ type: 'connected' });
  });

  it('goes on from the cursor the client sends, wherever the stored one stands, and is restored once', async () => {
    const doomed = await startOwn('doomed');
    const [early, late] = [fresh(), fresh()];
    const client = await connect(doomed);
    for (const channel of [early, late]) await client.expect('subscribe', { channel });
    const { epoch } = await publish(a, early, 5);
    await client.waitForMessages(5, early);
    await saved(sessionOf(client), { [early]: 5, [late]: 0 });
    doomed.kill('SIGKILL');
    await client.waitForClose();
    // In the same frame as connect, so that nothing is restored before.
    const again = await openWsClient(`${b.url.replace('http', 'ws')}/v1/ws`, { connect: false });
    opened.push(again);
    const [connected, subscribed] = await again.commands([
      { type: 'connect', session: sessionOf(client) },
      { type: 'subscribe', channel: early, since: { epoch, offset: 2 } },
    ]);
    expect(connected).toMatchObject({ type: 'connected', session: sessionOf(client) });
    expect(subscribed).toMatchObject({ type: 'subscribed', offset: 5, recovered: true });
    await again.waitForPush('subscribed', ({ channel }) => channel === late);
    await publish(a, early, 1);
    await again.waitForMessages(4, early);
    expect(offsets(again, early)).toEqual([3, 4, 5, 6]);
    expect(again.pushes.filter(({ type, channel }) => type === 'subscribed' && channel === early)).toEqual([]);
    // After the restore, a subscribe replaces what came back by itself, once.
    const own = await again.command('subscribe', { channel: late, since: 'earliest' });
    expect(own).toMatchObject({ type: 'subscribed' });
    expect(await again.command('subscribe', { channel: late })).toMatchObject({ type: 'error', code: 105 });
    await publish(a, late, 1);
    await again.waitForMessages(1, late);
    expect(offsets(again, late)).toEqual([1]);
  });

  it('forgets what the client unsubscribed, before and after it came back', async () => {
    const doomed = await startOwn('doomed');
    const [gone, stays, later] = [fresh(), fresh(), fresh()];
    const client = await connect(doomed);
    for (const channel of [gone, stays, later]) await client.expect('subscribe', { channel });
    await client.expect('unsubscribe', { channel: gone });
    await saved(sessionOf(client), { [stays]: 0, [later]: 0 });
    doomed.kill('SIGKILL');
    await client.waitForClose();
    const again = await connect(b, { session: sessionOf(client) });
    // Before it was restored, or after: it is a subscription either way.
    expect(await again.command('unsubscribe', { channel: later })).toMatchObject({ type: 'unsubscribed' });
    expect(await again.command('unsubscribe', { channel: gone })).toMatchObject({ code: 113 });
    await again.waitForPush('subscribed', ({ channel }) => channel === stays);
    await saved(sessionOf(client), { [stays]: 0 });
    expect(again.pushes.map(({ channel }) => channel)).toEqual([stays]);
  });
});

describe('a session taken over', () => {
  it('closes the older connection on its node with 3503, and the cursors stay with the newer one', async () => {
    const channel = fresh();
    const older = await connect(a);
    await older.expect('subscribe', { channel });
    await saved(sessionOf(older), { [channel]: 0 });
    const newer = await connect(b, { session: sessionOf(older) });
    expect(await older.waitForClose()).toEqual({ code: 3503, reason: 'session taken over' });
    await newer.waitForPush('subscribed');
    await publish(a, channel, 2);
    await newer.waitForMessages(2);
    await saved(sessionOf(older), { [channel]: 2 });
    const newest = await connect(b, { session: sessionOf(older) });
    expect(await newer.waitForClose()).toEqual({ code: 3503, reason: 'session taken over' });
    await newest.waitForPush('subscribed');
    await publish(a, channel, 1);
    await newest.waitForMessages(1);
    expect(offsets(newest)).toEqual([3]);
  });

  it('is told to an older one by its next save when the control bus was silent', async () => {
    const channel = fresh();
    const older = await connect(a);
    await older.expect('subscribe', { channel });
    await saved(sessionOf(older), { [channel]: 0 });
    const [key] = await inspector.keys(`*:session:${sessionOf(older)}`);
    await inspector.hincrby(key!, 'fence', 1);
    await older.expect('subscribe', { channel: fresh() });
    expect(await older.waitForClose()).toMatchObject({ code: 3503 });
  });
});

describe('a session on the move', () => {
  const startAging = (moveTimeoutMs: number): Promise<NodeProcess> =>
    startOwn('aging', { WEIR_MAX_AGE_MS: '1000', WEIR_MOVE_TIMEOUT_MS: String(moveTimeoutMs) });

  it('is continued elsewhere while the connection that was asked to move is served on, until its client closes it', async () => {
    const aging = await startAging(60_000);
    const channel = fresh();
    const older = await connect(aging);
    await older.expect('subscribe', { channel });
    await publish(a, channel, 2);
    await older.waitForMessages(2);
    expect(await older.waitForPush('reconnect')).toMatchObject({ reason: 'max_age' });
    await saved(sessionOf(older), { [channel]: 2 });
    const newer = await connect(b, { session: sessionOf(older) });
    expect(sessionOf(newer)).toBe(sessionOf(older));
    await newer.waitForPush('subscribed');
    await waitFor(async () => (await metric(aging, 'weir_sessions_handed_over_total')) === 1, {
      description: 'the former holder to hear of it',
    });
    await publish(a, channel, 3);
    await Promise.all([older.waitForMessages(5), newer.waitForMessages(3)]);
    expect([offsets(older), offsets(newer)]).toEqual([
      [1, 2, 3, 4, 5],
      [3, 4, 5],
    ]);
    // What is left of the older one says nothing about the session any more, neither by a change nor by its end.
    await older.expect('subscribe', { channel: fresh() });
    await older.close(1000);
    await saved(sessionOf(newer), { [channel]: 5 });
    const newest = await connect(a, { session: sessionOf(newer) });
    expect(sessionOf(newest)).toBe(sessionOf(newer));
    expect(await newer.waitForClose()).toMatchObject({ code: 3503 });
    expect(await metric(aging, 'weir_sessions_taken_over_total')).toBe(0);
  });

  it('does not keep two connections for ever: the older one ends with 3000 when its time is over', async () => {
    const aging = await startAging(1000);
    const channel = fresh();
    const older = await connect(aging);
    await older.expect('subscribe', { channel });
    await older.waitForPush('reconnect');
    await saved(sessionOf(older), { [channel]: 0 });
    const newer = await connect(b, { session: sessionOf(older) });
    await newer.waitForPush('subscribed');
    expect(await older.waitForClose()).toEqual({ code: 3000, reason: 'max_age' });
    await publish(a, channel, 1);
    await newer.waitForMessages(1);
    expect(newer.closed()).toBeUndefined();
  });
});

describe('a session that is ended or handed on in order', () => {
  it('is kept with its newest cursor when its node stops', async () => {
    const stopping = await startOwn('stopping');
    const channel = fresh();
    const client = await connect(stopping);
    await client.expect('subscribe', { channel });
    await publish(a, channel, 4);
    await client.waitForMessages(4);
    await stopping.stop();
    await saved(sessionOf(client), { [channel]: 4 });
  });

  it('is over when the client closes with 1000', async () => {
    const channel = fresh();
    const client = await connect(a);
    await client.expect('subscribe', { channel });
    await saved(sessionOf(client), { [channel]: 0 });
    await client.close(1000);
    await waitFor(
      async () => (await inspector.hlen((await inspector.keys(`*:session:${sessionOf(client)}`))[0]!)) === 1,
      {
        description: 'only the fence to be left',
      },
    );
    const again = await connect(b, { session: sessionOf(client) });
    expect(sessionOf(again)).not.toBe(sessionOf(client));
  });
});

describe('a session that cannot be continued is no error, the client gets a new one', () => {
  it.each<[string, string]>([
    ['never issued', NEVER_ISSUED],
    ['of another form', 'x'.repeat(128)],
    ['meant to leave its key', '{tag}:../*\n'],
  ])('%s', async (_, session) => {
    const client = await connect(a, { session });
    expect(sessionOf(client)).toMatch(/^[\w-]{22}$/);
    expect(sessionOf(client)).not.toBe(session);
    expect(await client.expect('subscribe', { channel: fresh() })).toMatchObject({ recovered: true });
  });

  it.each<[string, () => Readonly<Record<string, unknown>>]>([
    ['without its token', () => ({})],
    ['with the token of another user', () => ({ token: signToken({ sub: 'bob' }) })],
  ])('stolen, %s: it is answered as one that never was, and stays with its owner', async (_, credentials) => {
    const channel = fresh();
    const token = signToken({ sub: 'ada' });
    const owner = await connect(a, { token });
    await owner.expect('subscribe', { channel });
    await saved(sessionOf(owner), { [channel]: 0 });
    const [key] = await inspector.keys(`*:session:${sessionOf(owner)}`);
    const kept = await inspector.hgetall(key!);
    const thief = await connect(b, { session: sessionOf(owner), ...credentials() });
    const stranger = await connect(b, { session: NEVER_ISSUED, ...credentials() });
    expect(sessionOf(thief)).not.toBe(sessionOf(owner));
    const shape = ({ connected }: WsClient): unknown => ({
      ...connected,
      connection: 0,
      session: 0,
      serverTime: 0,
      expiresInMs: 0,
    });
    expect(shape(thief)).toEqual(shape(stranger));
    expect(await inspector.hgetall(key!)).toEqual(kept);
    await publish(a, channel, 1);
    await owner.waitForMessages(1);
    expect(owner.closed()).toBeUndefined();
    expect(thief.pushes).toEqual([]);
    owner.terminate();
    const again = await connect(b, { session: sessionOf(owner), token });
    expect(sessionOf(again)).toBe(sessionOf(owner));
  });

  it('expired', async () => {
    const short = await startOwn('short', { WEIR_SESSION_TTL_MS: '600' });
    const channel = fresh();
    const client = await connect(short);
    await client.expect('subscribe', { channel });
    await saved(sessionOf(client), { [channel]: 0 });
    // It outlives its lease as long as its connection is there.
    const before = await metric(short, 'weir_sessions_saved_total');
    await waitFor(async () => (await metric(short, 'weir_sessions_saved_total')) >= before + 4, {
      description: 'the lease to be renewed',
    });
    client.terminate();
    await waitFor(async () => (await inspector.keys(`*:session:${sessionOf(client)}`)).length === 0, {
      description: 'the lease to end',
    });
    const again = await connect(short, { session: sessionOf(client) });
    expect(sessionOf(again)).not.toBe(sessionOf(client));
  });

  it('turned off by sessionTtlMs 0: nothing is kept', async () => {
    const off = await startOwn('off', { WEIR_SESSION_TTL_MS: '0' });
    const client = await connect(off);
    await client.expect('subscribe', { channel: fresh() });
    const again = await connect(off, { session: sessionOf(client) });
    expect(sessionOf(again)).not.toBe(sessionOf(client));
    expect(client.closed()).toBeUndefined();
  });
});

describe('while Redis is silent', () => {
  it('connect with a session goes on with a new one after a short deadline, and is saved when Redis is back', async () => {
    const proxy: FaultProxy = await startFaultProxy({ port: redis.port });
    opened.push(proxy);
    const behind = await startOwn('behind', { WEIR_REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    const channel = fresh();
    const client = await connect(behind);
    await client.expect('subscribe', { channel });
    await saved(sessionOf(client), { [channel]: 0 });
    proxy.blackhole();
    const again = await connect(behind, { session: sessionOf(client) });
    expect(sessionOf(again)).not.toBe(sessionOf(client));
    expect(await metric(behind, 'weir_sessions_claimed_total{outcome="unavailable"}')).toBe(1);
    // Its channel is open on this node: a client with a cursor of its own needs nothing of Redis.
    await again.expect('subscribe', { channel });
    proxy.heal();
    await saved(sessionOf(again), { [channel]: 0 });
  });
});
