// Connecting, losing the connection, coming back, refreshing tokens.
import { expect, it, vi } from 'vitest';
import { WeirError } from './errors.ts';
import { createFixture, record, refusal, subscribedAt } from './testing/client-fixture.ts';
import { settled } from './testing/manual-clock.ts';

it('stops, says why and rejects connect() on a close code that forbids to reconnect', async () => {
  const { client, server, states, errors, clock } = createFixture();
  const connected = client.connect();
  const attempt = await server.attempt();
  attempt.drop(3500, 'invalid token');
  await expect(connected).rejects.toMatchObject({ name: 'closed', temporary: false });
  expect(states).toEqual(['connecting', 'disconnected']);
  expect(errors).toHaveLength(1);
  expect(clock.timers).toBe(0);
});

it('stops when connect is refused for good', async () => {
  const { client, server, clock } = createFixture();
  const connected = client.connect();
  const attempt = await server.attempt();
  attempt.open();
  attempt.reply(await attempt.next('connect'), refusal(101, 'unauthorized'));
  await expect(connected).rejects.toMatchObject({ code: 101, name: 'unauthorized' });
  expect(attempt.closed?.code).toBe(1000);
  expect(client.state).toBe('disconnected');
  expect(clock.timers).toBe(0);
});

it('does not make a rejected connect() an unhandled rejection', async () => {
  const unhandled = vi.fn();
  process.on('unhandledRejection', unhandled);
  const { client, server } = createFixture();
  void client.connect();
  (await server.attempt()).drop(3503, 'disconnected');
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

it('tries again after full jitter, longer each time, and tells attempt and delay', async () => {
  const { client, server, reconnecting, clock } = createFixture();
  void client.connect();
  for (let attempt = 1; attempt <= 7; attempt++) {
    (await server.attempt()).drop();
    await clock.advance(reconnecting.at(-1)!.delayMs);
  }
  expect(reconnecting).toEqual(
    [500, 1000, 2000, 4000, 8000, 15_000, 15_000].map((delayMs, index) => ({ attempt: index + 1, delayMs })),
  );
});

it('counts attempts on when the connection was lost within 10 s, and anew after', async () => {
  const { connect, server, reconnecting, clock } = createFixture();
  (await connect()).drop();
  await clock.advance(500);
  const second = await server.accept();
  await clock.advance(9999);
  second.drop();
  expect(reconnecting.at(-1)).toEqual({ attempt: 2, delayMs: 1000 });
  await clock.advance(1000);
  const third = await server.accept();
  await clock.advance(10_000);
  third.drop();
  expect(reconnecting.at(-1)).toEqual({ attempt: 1, delayMs: 500 });
});

it('lets a delay of the server win', async () => {
  const { client, server, reconnecting, clock } = createFixture();
  void client.connect();
  (await server.attempt()).drop(1013, 'retryAfterMs=7777');
  expect(reconnecting).toEqual([{ attempt: 1, delayMs: 7777 }]);
  await clock.advance(7777);
  const refused = await server.attempt();
  refused.open();
  refused.reply(await refused.next('connect'), refusal(115, 'overloaded', true, 4321));
  await settled();
  expect(reconnecting.at(-1)).toEqual({ attempt: 2, delayMs: 4321 });
});

it('gives up on a server that never answers connect', async () => {
  const { client, server, reconnecting, clock } = createFixture();
  void client.connect();
  const attempt = await server.attempt();
  attempt.open();
  await clock.advance(10_000);
  expect(attempt.closed).toEqual({ code: 3000, reason: 'connect timeout' });
  expect(reconnecting).toHaveLength(1);
});

it('closes on a frame that is not protocol JSON and comes back', async () => {
  const { connect, server, errors, clock } = createFixture();
  const connection = await connect();
  connection.send('{"type":');
  expect(connection.closed?.reason).toBe('malformed frame');
  expect(errors).toMatchObject([{ name: 'malformed_frame' }]);
  await clock.advance(500);
  expect((await server.attempt()).url).toBe('ws://test/v1/ws');
});

it('closes a silent connection after an unanswered ping and comes back', async () => {
  const { connect, states, clock } = createFixture();
  const connection = await connect();
  await clock.advance(30_000);
  await connection.next('ping');
  await clock.advance(5000);
  expect(connection.closed).toEqual({ code: 3012, reason: 'no pong' });
  expect(states).toEqual(['connecting', 'connected', 'connecting']);
});

it('keeps a connection whose pings are answered', async () => {
  const { connect, client, clock } = createFixture();
  const connection = await connect();
  for (let round = 0; round < 5; round++) {
    await clock.advance(30_000);
    connection.reply(await connection.next('ping'), { type: 'pong' });
  }
  expect(client.isConnected).toBe(true);
});

it('leaves no timer and no connection after disconnect(), in every state', async () => {
  const idle = createFixture();
  idle.client.disconnect();
  expect(idle.states).toEqual([]);

  const opening = createFixture();
  void opening.client.connect();
  await opening.server.attempt();
  opening.client.disconnect();
  expect(opening.clock.timers).toBe(0);
  expect(opening.server.connections[0]!.closed).toBeDefined();

  const waiting = createFixture();
  void waiting.client.connect();
  (await waiting.server.attempt()).drop();
  waiting.client.disconnect();
  expect(waiting.clock.timers).toBe(0);
  await waiting.clock.advance(60_000);
  expect(waiting.server.connections).toHaveLength(1);

  const connected = createFixture();
  const connection = await connected.connect();
  connected.client.disconnect();
  expect(connection.closed).toEqual({ code: 1000, reason: 'disconnected' });
  expect(connected.clock.timers).toBe(0);
  expect(connected.states).toEqual(['connecting', 'connected', 'disconnected']);
});

it('may be connected again from the handler that hears of the disconnect', async () => {
  const { connect, client, server, states } = createFixture();
  await connect();
  client.once('state', () => void client.connect());
  client.disconnect();
  await server.accept();
  await settled();
  expect(client.isConnected).toBe(true);
  expect(states.at(-1)).toBe('connected');
});

it('sends its session again on reconnect', async () => {
  const { connect, server, clock } = createFixture();
  (await connect()).drop();
  await clock.advance(500);
  const attempt = await server.attempt();
  attempt.open();
  expect(await attempt.next('connect')).toMatchObject({ session: 'session-1', client: { name: '@weir/client' } });
});

it('survives handlers that throw or reject, and reports them', async () => {
  const { connect, client, errors } = createFixture();
  client.on('state', () => {
    throw new Error('state handler');
  });
  client.on('connected', () => Promise.reject(new Error('async handler')));
  const connection = await connect();
  await settled();
  expect(errors.map(({ name }) => name)).toEqual(['handler_failed', 'handler_failed', 'handler_failed']);
  connection.push({ type: 'status', broker: 'degraded' });
  expect(client.isConnected).toBe(true);
});

it('writes to the console what an error handler throws, and what nobody listens to', async () => {
  const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const { connect, client } = createFixture();
  client.on('error', () => {
    throw new Error('broken');
  });
  const connection = await connect();
  connection.push(refusal(100, 'internal', true));
  expect(logged).toHaveBeenCalledOnce();
  logged.mockRestore();
});

it('tells every change of the broker state once', async () => {
  const { connect, client, server, clock } = createFixture();
  const seen: string[] = [];
  client.on('status', ({ broker }) => seen.push(broker));
  const connection = await connect();
  connection.push({ type: 'status', broker: 'degraded' }, { type: 'status', broker: 'degraded' });
  connection.drop();
  await clock.advance(500);
  await server.accept({ broker: 'ready' });
  expect(seen).toEqual(['ready', 'degraded', 'ready']);
});

it('retries when getToken fails, and stops when it says that there is no point', async () => {
  let failure: Error = new Error('auth server down');
  const { client, server, errors, reconnecting, clock } = createFixture({ getToken: () => Promise.reject(failure) });
  const connected = client.connect();
  await settled();
  expect(errors).toMatchObject([{ name: 'token_failed', temporary: true }]);
  expect(reconnecting).toHaveLength(1);
  failure = new WeirError(101, 'unauthorized', 'logged out');
  await clock.advance(500);
  await expect(connected).rejects.toBe(failure);
  expect(server.connections).toHaveLength(0);
});

it('gives up on a getToken that never settles, ignores its late answer, and comes back', async () => {
  const late: ((token: string) => void)[] = [];
  const getToken = () => new Promise<string>((resolve) => late.push(resolve));
  const { client, server, reconnecting, clock } = createFixture({ getToken });
  void client.connect();
  await clock.advance(9999);
  expect(reconnecting).toEqual([]);
  await clock.advance(1);
  expect(reconnecting).toEqual([{ attempt: 1, delayMs: 500 }]);
  late[0]!('too late');
  await clock.advance(500);
  expect(server.connections).toHaveLength(0);
  // The time of the socket counts from its own start.
  await clock.advance(9000);
  late[1]!('token');
  await clock.advance(9000);
  const connection = await server.accept();
  await settled();
  expect(connection.commands[0]).toMatchObject({ token: 'token' });
  expect(client.isConnected).toBe(true);
});

it('leaves no timer when disconnected while getToken hangs', async () => {
  const { client, clock } = createFixture({ getToken: () => new Promise<string>(() => undefined) });
  void client.connect();
  await settled();
  client.disconnect();
  expect(clock.timers).toBe(0);
});

it('fetches a token for every connection', async () => {
  let tokens = 0;
  const { connect, server, clock } = createFixture({ getToken: () => Promise.resolve(`token-${++tokens}`) });
  const first = await connect();
  expect(first.commands[0]).toMatchObject({ type: 'connect', token: 'token-1' });
  first.drop(3005, 'token expired');
  await clock.advance(500);
  const second = await server.accept();
  expect(second.commands[0]).toMatchObject({ token: 'token-2' });
});

it('refreshes the token ahead of its expiry, and again after a temporary failure', async () => {
  let tokens = 0;
  const { client, server, clock } = createFixture({ getToken: () => `token-${++tokens}` });
  void client.connect();
  const connection = await server.accept({ expiresInMs: 100_000, pingIntervalMs: 1_000_000 });
  await clock.advance(89_999);
  expect(tokens).toBe(1);
  await clock.advance(1);
  connection.reply(await connection.next('refresh'), refusal(115, 'overloaded', true, 2000));
  await clock.advance(2000);
  const refresh = await connection.next('refresh');
  expect(refresh.token).toBe('token-3');
  connection.reply(refresh, { type: 'refreshed', expiresInMs: 100_000 });
  await clock.advance(90_000);
  expect((await connection.next('refresh')).token).toBe('token-4');
});

it('refreshes and sends again when a command meets an expired token', async () => {
  let tokens = 0;
  const { connect, client } = createFixture({ getToken: () => `token-${++tokens}` });
  const connection = await connect();
  const subscription = client.subscribe('news');
  const events = record(subscription);
  connection.reply(await connection.next('subscribe'), refusal(109, 'token_expired'));
  connection.reply(await connection.next('refresh'), { type: 'refreshed', expiresInMs: 60_000 });
  connection.reply(await connection.next('subscribe'), subscribedAt(0));
  expect(events).toEqual(['subscribing', 'subscribed']);
});

it('answers ping with the round trip, and rejects it without a connection', async () => {
  const { connect, client, clock } = createFixture();
  await expect(client.ping()).rejects.toMatchObject({ name: 'connection_lost' });
  const connection = await connect();
  const roundTrip = client.ping();
  const ping = await connection.next('ping');
  await clock.advance(40);
  connection.reply(ping, { type: 'pong' });
  await expect(roundTrip).resolves.toBe(40);
});

it('asks history again on the next connection, and gives up after the timeout', async () => {
  const { connect, client, server, clock } = createFixture();
  await expect(client.history('news')).rejects.toMatchObject({ name: 'disconnected' });
  const first = await connect();
  const history = client.history('news', { limit: 2 });
  await first.next('history');
  first.drop();
  await clock.advance(500);
  const second = await server.accept();
  const asked = await second.next('history');
  expect(asked).toMatchObject({ channel: 'news', limit: 2 });
  const answer = { type: 'history' as const, channel: 'news', epoch: 'e1', offset: 4, messages: [], more: false };
  second.reply(asked, answer);
  await expect(history).resolves.toMatchObject(answer);

  const presence = client.presence('news');
  void clock.advance(10_000);
  await expect(presence).rejects.toMatchObject({ name: 'timeout', temporary: true });
});

it('rejects what is unanswered on disconnect()', async () => {
  const { connect, client } = createFixture();
  await connect();
  const calls = [client.history('news'), client.presence('news'), client.publish('news', 1), client.ping()];
  client.disconnect();
  const outcomes = await Promise.allSettled(calls);
  expect(outcomes.map((outcome) => outcome.status === 'rejected' && (outcome.reason as WeirError).name)).toEqual([
    'disconnected',
    'disconnected',
    'disconnected',
    'connection_lost',
  ]);
});

it('keeps a healthy connection when the machine wakes from sleep, however long that was', async () => {
  const { connect, client, states, clock, server } = createFixture({ getToken: () => 'token' });
  const connected = connect();
  const connection = await connected;
  const subscription = client.subscribe('news');
  connection.reply(await connection.next('subscribe'), subscribedAt(0));
  for (const sleepMs of [60_000, 8 * 3600_000, 6000]) {
    await clock.sleep(sleepMs);
    // Every timer was late, all at once; the answer is still on its way.
    await clock.advance(4900);
    const ping = connection.commands.filter(({ type }) => type === 'ping').at(-1);
    if (ping) connection.reply(ping, { type: 'pong' });
  }
  await clock.advance(20_000);
  expect(states).toEqual(['connecting', 'connected']);
  expect(subscription.state).toBe('subscribed');
  expect(server.connections).toHaveLength(1);
});

it('finds a connection dead that did not survive the sleep', async () => {
  const { connect, states, clock } = createFixture();
  const connection = await connect();
  await clock.sleep(8 * 3600_000);
  expect(connection.closed).toBeUndefined();
  await clock.advance(5000);
  expect(connection.closed).toEqual({ code: 3012, reason: 'no pong' });
  expect(states).toEqual(['connecting', 'connected', 'connecting']);
});
