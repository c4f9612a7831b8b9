// The manage calls through one real node: close, subscribe, unsubscribe, revoke, list and explain connections.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  signToken,
  type TemporaryDirectory,
  temporaryDirectory,
  TOKEN_SECRET,
  waitFor,
  type WsClient,
} from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const READER_KEY = 'reader-key-of-the-test-0123456789';

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
let users = 0;
beforeAll(async () => {
  directory = await temporaryDirectory('managing');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, 'namespaces: { typing: { class: ephemeral } }');
  gateway = await startGatewayUnderTest({
    WEIR_CONFIG: file,
    WEIR_JWT_SECRET: TOKEN_SECRET,
    WEIR_API_KEYS: `dev=${API_KEY},reader=${READER_KEY}:read+publish+metrics`,
  });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(async () => {
  await gateway.stop();
  await directory.remove();
});

const freshUser = (): string => `user-${(users += 1)}`;
const connectAs = (user: string, more: Readonly<Record<string, unknown>> = {}): Promise<WsClient> =>
  gateway.connect({ connect: { token: signToken({ sub: user, ...more }) } });
const idOf = ({ connected }: WsClient): string => connected?.['connection'] as string;
const sessionOf = ({ connected }: WsClient): string => connected?.['session'] as string;
const manage = async (path: string, body: unknown): Promise<unknown> => {
  const answer = await gateway.api(path, { body });
  return answer.status === 200 ? answer.body : { status: answer.status, body: answer.body };
};
/** What a connect with these fields is answered, and the close code when one follows. */
const tryConnect = async (fields: Readonly<Record<string, unknown>>): Promise<number | 'connected'> => {
  const client = await gateway.connect({ connect: false });
  const reply = await client.command('connect', fields);
  return reply.type === 'connected' ? 'connected' : (await client.waitForClose()).code;
};
const nowS = (): number => Math.floor(Date.now() / 1000);

describe('POST /v1/disconnect', () => {
  it('closes all connections of a user, nobody else’s, with 3503', async () => {
    const [ada, bob] = [freshUser(), freshUser()];
    const [one, two, other] = await Promise.all([connectAs(ada), connectAs(ada), connectAs(bob)]);
    expect(await manage('/v1/disconnect', { user: ada })).toEqual({ disconnected: 2 });
    for (const client of [one, two]) {
      expect(await client.waitForClose()).toEqual({ code: 3503, reason: 'disconnected' });
    }
    expect(await other.command('ping')).toMatchObject({ type: 'pong' });
    expect(await manage('/v1/disconnect', { user: ada })).toEqual({ disconnected: 0 });
  });

  it('closes one connection, or the one of a session, with the code and reason asked for', async () => {
    const [one, two] = await Promise.all([connectAs(freshUser()), connectAs(freshUser())]);
    const reason = 'ä'.repeat(61);
    expect(await manage('/v1/disconnect', { connection: idOf(one), code: 4001, reason })).toEqual({ disconnected: 1 });
    expect(await one.waitForClose()).toEqual({ code: 4001, reason });
    expect(await manage('/v1/disconnect', { session: sessionOf(two) })).toEqual({ disconnected: 1 });
    expect(await two.waitForClose()).toMatchObject({ code: 3503 });
  });

  it.each([
    [{}],
    [{ user: 'a', connection: 'b' }],
    [{ user: 7 }],
    [{ user: '' }],
    [{ user: 'a', code: 1000 }],
    [{ user: 'a', code: 5000 }],
    [{ user: 'a', reason: 'ä'.repeat(62) }],
    [[]],
    [null],
  ])('refuses %j with 422', async (body) => {
    expect(await manage('/v1/disconnect', body)).toMatchObject({ status: 422, body: { code: 107 } });
  });
});

describe('POST /v1/revoke', () => {
  it('closes the connections of a user with 3507, and its tokens are refused until newer ones are issued', async () => {
    const user = freshUser();
    const old = signToken({ sub: user });
    const withoutTime = signToken({ sub: user }, { issuedAtS: null });
    const client = await gateway.connect({ connect: { token: old } });
    const answer = (await manage('/v1/revoke', { user, ttlMs: 60_000 })) as Record<string, number>;
    expect(answer['disconnected']).toBe(1);
    // The token of the connection lives longer than the caller thought.
    expect(answer['holdsUntil']).toBeGreaterThan(Date.now() + 3_500_000);
    expect(await client.waitForClose()).toEqual({ code: 3507, reason: 'permission_denied' });
    expect(await tryConnect({ token: old })).toBe(3500);
    expect(await tryConnect({ token: signToken({ sub: user, jti: 'x' }, { issuedAtS: nowS() - 100 }) })).toBe(3500);
    expect(await tryConnect({ token: withoutTime })).toBe(3500);
    expect(await tryConnect({ token: signToken({ sub: user }, { issuedAtS: nowS() + 2 }) })).toBe('connected');
    expect(await tryConnect({ token: signToken({ sub: freshUser() }) })).toBe('connected');
  });

  it('ends one token by its jti, and a refresh with it', async () => {
    const user = freshUser();
    const [one, two] = [signToken({ sub: user, jti: `${user}-1` }), signToken({ sub: user, jti: `${user}-2` })];
    const clients = await Promise.all([one, two].map((token) => gateway.connect({ connect: { token } })));
    expect(await manage('/v1/revoke', { jti: `${user}-1` })).toMatchObject({ disconnected: 1 });
    expect(await clients[0]!.waitForClose()).toMatchObject({ code: 3507 });
    expect(await clients[1]!.command('refresh', { token: one })).toMatchObject({ type: 'error', code: 101 });
    expect(await clients[1]!.command('refresh', { token: two })).toMatchObject({ type: 'refreshed' });
    expect(await tryConnect({ token: one })).toBe(3500);
  });

  it('ends a session, also of an anonymous client, for good', async () => {
    const client = await gateway.connect();
    expect(await manage('/v1/revoke', { session: sessionOf(client) })).toMatchObject({ disconnected: 1 });
    expect(await client.waitForClose()).toMatchObject({ code: 3507 });
    expect(await tryConnect({ session: sessionOf(client) })).toBe(3500);
    expect(await tryConnect({})).toBe('connected');
  });

  it('is over when its time is over', async () => {
    const user = freshUser();
    const token = signToken({ sub: user });
    await manage('/v1/revoke', { user, ttlMs: 1000 });
    expect(await tryConnect({ token })).toBe(3500);
    const connected = await waitFor(async () => (await tryConnect({ token })) === 'connected', {
      description: 'the revocation to end',
    });
    expect(connected).toBe(true);
  });

  it.each([
    [{}],
    [{ user: 'a', jti: 'b' }],
    [{ connection: 'c' }],
    [{ user: 'a', ttlMs: 1 }],
    [{ user: 'a', ttlMs: '1h' }],
  ])('refuses %j with 422', async (body) => {
    expect(await manage('/v1/revoke', body)).toMatchObject({ status: 422, body: { code: 107 } });
  });
});

describe('POST /v1/subscribe and /v1/unsubscribe', () => {
  it('subscribe a user whatever its token says, and tell it; messages follow from since', async () => {
    const user = freshUser();
    const channel = `room:${user}`;
    await gateway.publish(channel, 'before');
    const clients = await Promise.all([1, 2].map(() => connectAs(user, { weir: { subscribe: [], history: [] } })));
    expect(await clients[0]!.command('subscribe', { channel })).toMatchObject({ type: 'error', code: 103 });
    expect(await manage('/v1/subscribe', { user, channel, since: { last: 1 } })).toEqual({ affected: 2 });
    for (const client of clients) {
      expect(await client.waitForPush('subscribed')).toMatchObject({ channel, recovered: true });
      expect(await client.waitForMessages(1, channel)).toMatchObject([{ data: 'before', offset: 1 }]);
    }
    expect(await manage('/v1/subscribe', { user, channel })).toEqual({ affected: 0 });
    // A narrower token does not end what the application gave, and the client may take it over.
    const narrow = signToken({ sub: user, weir: { subscribe: [] } });
    await clients[0]!.expect('refresh', { token: narrow });
    await clients[0]!.expect('subscribe', { channel });
    expect(await clients[0]!.command('subscribe', { channel })).toMatchObject({ type: 'error', code: 105 });

    expect(await manage('/v1/unsubscribe', { user, channel })).toEqual({ affected: 2 });
    for (const client of clients)
      expect(await client.waitForPush('unsubscribed')).toMatchObject({ channel, code: 3503 });
    expect(await clients[0]!.command('subscribe', { channel })).toMatchObject({ type: 'error', code: 103 });
    expect(await manage('/v1/unsubscribe', { user, channel })).toEqual({ affected: 0 });
  });

  it('do nothing for somebody who is not here, and answer with the error when nobody could be subscribed', async () => {
    expect(await manage('/v1/subscribe', { user: 'nobody', channel: 'c' })).toEqual({ affected: 0 });
    const client = await connectAs(freshUser());
    const body = { connection: idOf(client), channel: 'c', since: { epoch: 'x', offset: 9 } };
    expect(await manage('/v1/subscribe', body)).toEqual({ affected: 1 });
    const other = { connection: idOf(client), channel: 'd', since: { epoch: await epochOf('d'), offset: 9 } };
    expect(await manage('/v1/subscribe', other)).toMatchObject({ status: 409, body: { code: 112 } });
  });

  const epochOf = async (channel: string): Promise<string> => (await gateway.publish(channel, 1)).epoch;
});

describe('a narrower token', () => {
  it('ends the subscriptions it does not grant, each told by a push with 103', async () => {
    const user = freshUser();
    const weir = { subscribe: ['a:*', 'b:*'], channels: ['own:1', 'own:2'] };
    const client = await connectAs(user, { weir });
    for (const channel of ['a:1', 'b:1']) await client.expect('subscribe', { channel });
    await client.waitForPush('subscribed', (push) => push['channel'] === 'own:2');
    const token = signToken({ sub: user, weir: { subscribe: ['b:*'], channels: ['own:2'] } });
    await client.expect('refresh', { token });
    const ended = client.pushes.filter(({ type }) => type === 'unsubscribed');
    expect(ended.map(({ channel, code }) => [channel, code]).sort()).toEqual([
      ['a:1', 103],
      ['own:1', 103],
    ]);
    await gateway.publish('a:1', 'no');
    await gateway.publish('b:1', 'yes');
    await client.waitForMessages(1, 'b:1');
    expect(client.messages('a:1')).toEqual([]);
  });

  it('of another user, or none, or for a connection without, is refused and changes nothing', async () => {
    const client = await connectAs(freshUser());
    const another = signToken({ sub: freshUser() });
    expect(await client.command('refresh', { token: another })).toMatchObject({ type: 'error', code: 103 });
    expect(await client.command('refresh', { token: 'none' })).toMatchObject({ type: 'error', code: 101 });
    const over = signToken({ sub: 'x', exp: nowS() - 1 });
    expect(await client.command('refresh', { token: over })).toMatchObject({ type: 'error', code: 109 });
    expect(await client.command('subscribe', { channel: 'c' })).toMatchObject({ type: 'subscribed' });
    const anonymous = await gateway.connect();
    expect(await anonymous.command('refresh', { token: another })).toMatchObject({ type: 'error', code: 103 });
    expect(await anonymous.command('ping')).toMatchObject({ type: 'pong' });
  });
});

describe('a token that is over while connected', () => {
  it('lets messages on, refuses commands with 109 until it is refreshed', async () => {
    const user = freshUser();
    const client = await connectAs(user, { exp: nowS() + 2 });
    await client.expect('subscribe', { channel: 'c' });
    await waitFor(async () => (await client.command('publish', { channel: 'c', data: 1 }))['code'] === 109, {
      description: 'the token to be over',
    });
    expect(await client.command('subscribe', { channel: 'd' })).toMatchObject({ type: 'error', code: 109 });
    expect(await client.command('history', { channel: 'c' })).toMatchObject({ type: 'error', code: 109 });
    expect(await client.command('ping')).toMatchObject({ type: 'pong' });
    await gateway.publish('c', 'still');
    await waitFor(() => client.messages('c').some(({ data }) => data === 'still'), { description: 'the message' });
    expect(await client.expect('refresh', { token: signToken({ sub: user }) })).toMatchObject({ type: 'refreshed' });
    expect(await client.command('subscribe', { channel: 'd' })).toMatchObject({ type: 'subscribed' });
  });
});

describe('a session', () => {
  it('is not continued by another user, nor without the token, and nothing tells why', async () => {
    const user = freshUser();
    const before = await gateway.metric('weir_sessions_saved_total');
    const owner = await connectAs(user);
    await owner.expect('subscribe', { channel: `private:${user}` });
    await waitFor(async () => (await gateway.metric('weir_sessions_saved_total')) > before, {
      description: 'the session to be saved',
    });
    const session = sessionOf(owner);
    for (const fields of [{ token: signToken({ sub: freshUser() }) }, {}]) {
      const thief = await gateway.connect({ connect: { ...fields, session } });
      expect(thief.connected?.['session']).not.toBe(session);
      expect(Object.keys(thief.connected ?? {}).sort()).toEqual(
        Object.keys(
          (await gateway.connect({ connect: { ...fields, session: 'a'.repeat(22) } })).connected ?? {},
        ).sort(),
      );
      expect(await thief.command('unsubscribe', { channel: `private:${user}` })).toMatchObject({ code: 113 });
    }
    const again = await gateway.connect({ connect: { token: signToken({ sub: user }), session } });
    expect(again.connected?.['session']).toBe(session);
    expect(await again.waitForPush('subscribed')).toMatchObject({ channel: `private:${user}` });
  });
});

describe('GET /v1/connections', () => {
  it('lists page by page, of all or of one user, whom it knows', async () => {
    const user = freshUser();
    const clients = await Promise.all([connectAs(user), connectAs(user), connectAs(user), gateway.connect()]);
    await clients[0].expect('subscribe', { channel: 'c' });
    const rows: Record<string, unknown>[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const answer = await gateway.api(`/v1/connections?limit=2&cursor=${cursor}`);
      const page = answer.body as { connections: Record<string, unknown>[]; cursor: string | null };
      expect(page.connections.length).toBeLessThanOrEqual(2);
      rows.push(...page.connections);
      ({ cursor } = page);
    }
    expect(rows.map(({ connection }) => connection)).toEqual(clients.map(idOf).sort());
    expect(rows.find(({ connection }) => connection === idOf(clients[0]))).toEqual({
      connection: idOf(clients[0]),
      node: 'under-test',
      user,
      transport: 'websocket',
      dialect: 'weir.v1.json',
      subscriptions: 1,
      since: expect.any(Number) as number,
    });
    expect(rows.find(({ connection }) => connection === idOf(clients[3]))).not.toHaveProperty('user');
    const own = (await gateway.api(`/v1/connections?user=${user}`)).body as { connections: unknown[] };
    expect(own.connections).toHaveLength(3);
  });

  it('explains one: its cursors, what it holds, its last refusals', async () => {
    const client = await connectAs(freshUser());
    await gateway.publish('explained', 1);
    await client.expect('subscribe', { channel: 'explained', since: 'earliest' });
    await client.waitForMessages(1);
    for (let n = 0; n < 6; n++) await client.command('subscribe', { channel: 'explained' });
    const { status, body } = await gateway.api(`/v1/connections/${idOf(client)}/explain`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      connection: idOf(client),
      node: 'under-test',
      bufferedBytes: 0,
      subscriptions: [{ channel: 'explained', policy: 'all', cursor: 1, head: 1, lag: 0, gaps: [] }],
    });
    const { refusals } = body as { refusals: unknown[] };
    expect(refusals).toHaveLength(5);
    expect(refusals[4]).toMatchObject({ code: 105 });
    expect(await gateway.api('/v1/connections/nobody/explain')).toMatchObject({ status: 404 });
  });

  it('explains one that listens to an ephemeral channel, which has no positions: nobody hides behind one', async () => {
    const client = await connectAs(freshUser());
    await client.expect('subscribe', { channel: 'typing:a' });
    await client.expect('subscribe', { channel: 'explained-too' });
    const { status, body } = await gateway.api(`/v1/connections/${idOf(client)}/explain`);
    expect(status).toBe(200);
    expect(body).toMatchObject({ bufferedBytes: 0 });
    expect((body as { subscriptions: unknown[] }).subscriptions).toEqual([
      { channel: 'typing:a', policy: 'all', gaps: [] },
      expect.objectContaining({ channel: 'explained-too', cursor: 0, head: 0, lag: 0 }),
    ]);
  });
});

it.each([
  ['/v1/disconnect', { user: 'a' }],
  ['/v1/revoke', { user: 'a' }],
  ['/v1/subscribe', { user: 'a', channel: 'c' }],
  ['/v1/unsubscribe', { user: 'a', channel: 'c' }],
  ['/v1/connections', undefined],
  ['/v1/connections/x/explain', undefined],
])('%s is for keys with scope manage', async (path, body) => {
  expect(await gateway.api(path, { body, apiKey: READER_KEY })).toMatchObject({ status: 403 });
});
