// Sessions: continued by the next connection, never while the present one is in use, never against the client's own cursors.
import { expect, it } from 'vitest';
import { createFixture, message, record, refusal, subscribedAt } from './testing/client-fixture.ts';
import { settled } from './testing/manual-clock.ts';
import type { TestConnection } from './testing/test-server.ts';

const sessionsSent = (connections: readonly TestConnection[]): unknown[] =>
  connections.map(({ commands }) => commands.flatMap((one) => (one.type === 'connect' ? [one.session] : []))[0]);
const subscribes = ({ commands }: TestConnection): number => commands.filter(({ type }) => type === 'subscribe').length;

it('sends the session the server gave last when it reconnects', async () => {
  const { connect, reconnecting, server, clock } = createFixture();
  (await connect()).drop();
  await clock.advance(reconnecting.at(-1)!.delayMs);
  (await server.accept({ session: 'session-2' })).drop();
  await clock.advance(reconnecting.at(-1)!.delayMs);
  await server.accept({ session: 'session-2' });
  expect(sessionsSent(server.connections)).toEqual([undefined, 'session-1', 'session-2']);
});

it('begins a new session after the application disconnected', async () => {
  const { connect, client, server } = createFixture();
  await connect();
  client.disconnect();
  void client.connect();
  await server.accept();
  expect(sessionsSent(server.connections)).toEqual([undefined, undefined]);
});

it('moves with the session, and goes on with the one the next connection has', async () => {
  const { connect, server, clock, reconnecting } = createFixture();
  const old = await connect();
  old.push({ type: 'reconnect', afterMs: 0, withinMs: 1000, reason: 'drain' });
  await clock.advance(0);
  const next = await server.accept({ session: 'session-2' });
  await settled();
  expect(old.closed).toEqual({ code: 1000, reason: 'moved' });
  next.drop();
  await clock.advance(reconnecting.at(-1)!.delayMs);
  await server.accept();
  expect(sessionsSent(server.connections)).toEqual([undefined, 'session-1', 'session-2']);
});

it.each(['before the next connection is accepted', 'while the next one subscribes'])(
  'survives a server that closes the connection whose session moved, %s',
  async (when) => {
    const { connect, client, server, clock, states } = createFixture();
    const old = await connect();
    const events = record(client.subscribe('news'));
    old.reply(await old.next('subscribe'), subscribedAt(10));
    old.push({ type: 'reconnect', afterMs: 0, withinMs: 1000, reason: 'drain' });
    await clock.advance(0);
    if (when.startsWith('before')) {
      // The claim comes before its answer.
      const next = server.accept();
      await settled();
      old.drop(3503, 'session taken over');
      const connection = await next;
      connection.reply(await connection.next('subscribe'), { ...subscribedAt(10), recovered: true });
    } else {
      const next = await server.accept();
      const asked = await next.next('subscribe');
      old.drop(3503, 'session taken over');
      next.reply(asked, { ...subscribedAt(10), recovered: true });
    }
    await settled();
    expect(client.isConnected).toBe(true);
    expect(states).not.toContain('disconnected');
    expect(events.at(-1)).toBe('subscribed');
    expect(server.connections).toHaveLength(2);
  },
);

it('takes what the server subscribed along before it leaves the old connection, without a hole or a duplicate', async () => {
  const { connect, client, server, clock } = createFixture();
  const made: string[][] = [];
  client.on('subscription', (subscription) => made.push(record(subscription)));
  const old = await connect();
  old.push({ ...subscribedAt(5), recovered: true }, message(6), message(7));
  old.push({ type: 'reconnect', afterMs: 0, withinMs: 5000, reason: 'drain' });
  await clock.advance(0);
  const next = await server.accept();
  await settled();
  expect(old.closed).toBeUndefined();
  // From where the session was saved, which is behind what came since.
  next.push({ ...subscribedAt(6), recovered: true }, message(7));
  expect(old.closed).toEqual({ code: 1000, reason: 'moved' });
  next.push(message(8));
  expect(made).toEqual([['subscribed', 'message 6', 'message 7', 'message 8']]);
});

it('does not let the server bring back what was left after a move that failed', async () => {
  const { connect, client, server, clock } = createFixture();
  const made: string[] = [];
  client.on('subscription', ({ channel }) => made.push(channel));
  const old = await connect();
  client.subscribe('news');
  old.reply(await old.next('subscribe'), subscribedAt(0));
  old.push({ type: 'reconnect', afterMs: 0, withinMs: 60_000, reason: 'drain' });
  await clock.advance(0);
  // It took the session before it broke: what the old connection forgets, the session does not.
  (await server.accept()).drop();
  client.unsubscribe('news');
  old.reply(await old.next('unsubscribe'), { type: 'unsubscribed', channel: 'news' });
  await clock.advance(1000);
  const next = await server.accept();
  next.push({ ...subscribedAt(0), recovered: true });
  expect((await next.next('unsubscribe')).channel).toBe('news');
  expect(made).toEqual([]);
});

it('does not let the server bring back what was left during a move', async () => {
  const { connect, client, server, clock } = createFixture();
  const made: string[] = [];
  client.on('subscription', ({ channel }) => made.push(channel));
  const old = await connect();
  old.push({ ...subscribedAt(5), recovered: true });
  const other = client.subscribe('other');
  old.reply(await old.next('subscribe'), subscribedAt(0, 'e1', 'other'));
  old.push({ type: 'reconnect', afterMs: 0, withinMs: 5000, reason: 'drain' });
  await clock.advance(0);
  const next = await server.accept();
  client.unsubscribe('news');
  old.reply(await old.next('unsubscribe'), { type: 'unsubscribed', channel: 'news' });
  next.push({ ...subscribedAt(5), recovered: true }, message(6));
  next.reply(await next.next('subscribe'), subscribedAt(0, 'e1', 'other'));
  expect((await next.next('unsubscribe')).channel).toBe('news');
  expect(made).toEqual(['news']);
  expect(other.state).toBe('subscribed');
});

it('keeps the session of the connection in use when a move fails', async () => {
  const { connect, client, server, clock, reconnecting } = createFixture();
  const old = await connect();
  client.subscribe('news');
  old.reply(await old.next('subscribe'), subscribedAt(0));
  old.push({ type: 'reconnect', afterMs: 0, withinMs: 1000, reason: 'drain' });
  await clock.advance(0);
  (await server.accept({ session: 'session-2' })).drop(3500, 'no');
  old.drop();
  await clock.advance(reconnecting.at(-1)!.delayMs);
  await server.accept();
  expect(sessionsSent(server.connections).at(-1)).toBe('session-1');
});

it.each([
  ['takes over', 3000, 'connecting'],
  ['disconnects', 3503, 'disconnected'],
])('decides by the number when somebody %s (%i)', async (_, code, state) => {
  const { connect, client } = createFixture();
  (await connect()).drop(code, 'bye');
  expect(client.state).toBe(state);
});

it('lets its own cursor win over a subscription the server restored', async () => {
  const { connect, client, reconnect } = createFixture();
  const connection = await connect();
  const events = record(client.subscribe('news'));
  connection.reply(await connection.next('subscribe'), subscribedAt(10));
  connection.push(message(11), message(12));
  connection.drop();
  const next = await reconnect();
  // Restored from an older cursor, before our own command is answered.
  next.push({ ...subscribedAt(14), recovered: true }, message(11), message(12), message(13));
  const asked = await next.next('subscribe');
  expect(asked.since).toEqual({ epoch: 'e1', offset: 12 });
  next.reply(asked, { ...subscribedAt(14), recovered: true });
  next.push(message(13), message(14), message(15));
  expect(events).toEqual([
    'subscribing',
    'subscribed',
    'message 11',
    'message 12',
    'subscribing',
    'subscribed',
    'message 13',
    'message 14',
    'message 15',
  ]);
});

it('replaces a restored subscription the server will not let it overrule', async () => {
  const { connect, client, reconnect } = createFixture();
  const connection = await connect();
  const events = record(client.subscribe('news'));
  connection.reply(await connection.next('subscribe'), subscribedAt(10));
  connection.drop();
  const next = await reconnect();
  next.push({ ...subscribedAt(11), recovered: true });
  next.reply(await next.next('subscribe'), refusal(105, 'already_subscribed'));
  await next.next('unsubscribe');
  const again = await next.next('subscribe');
  expect(again.since).toEqual({ epoch: 'e1', offset: 10 });
  next.reply(again, { ...subscribedAt(11), recovered: true });
  next.push(message(11));
  expect(events.slice(2)).toEqual(['subscribing', 'subscribed', 'message 11']);
});

it.each(['while offline', 'with an answer that never came'])(
  'does not let the server restore what was left %s',
  async (when) => {
    const { connect, client, reconnect } = createFixture();
    const made: string[] = [];
    client.on('subscription', ({ channel }) => made.push(channel));
    const connection = await connect();
    const subscription = client.subscribe('news');
    connection.reply(await connection.next('subscribe'), subscribedAt(10));
    if (when !== 'while offline') subscription.unsubscribe();
    connection.drop();
    subscription.unsubscribe();
    const next = await reconnect();
    next.push({ ...subscribedAt(12), recovered: true }, message(11));
    next.reply(await next.next('unsubscribe'), { type: 'unsubscribed', channel: 'news' });
    expect(made).toEqual([]);
    expect(subscribes(next)).toBe(0);
    // From now on the server may: it has heard.
    next.push({ ...subscribedAt(12), recovered: true });
    expect(made).toEqual(['news']);
  },
);

it('goes on with a subscription the server made, from where the session was', async () => {
  const { connect, client, reconnect } = createFixture();
  const made: string[][] = [];
  client.on('subscription', (subscription) => made.push(record(subscription)));
  const connection = await connect();
  connection.push({ ...subscribedAt(5), recovered: true }, message(6));
  connection.drop();
  const next = await reconnect();
  next.push({ ...subscribedAt(8), recovered: true }, message(6), message(7), message(8), message(9));
  expect(made).toEqual([
    ['subscribed', 'message 6', 'subscribing', 'subscribed', 'message 7', 'message 8', 'message 9'],
  ]);
});

it('takes what a subscription the server made with a start brings from before the head', async () => {
  const { connect, client } = createFixture();
  const made: string[][] = [];
  client.on('subscription', (subscription) => made.push(record(subscription)));
  const connection = await connect();
  connection.push({ ...subscribedAt(5), recovered: true }, message(4), message(5), message(6));
  expect(made).toEqual([['subscribed', 'message 4', 'message 5', 'message 6']]);
});

it('knows what a subscription the server made missed even before its first message', async () => {
  const { connect, client, reconnecting, clock, server } = createFixture();
  const made: string[][] = [];
  client.on('subscription', (subscription) => made.push(record(subscription)));
  const connection = await connect();
  connection.push({ ...subscribedAt(5), recovered: true });
  connection.drop();
  await clock.advance(reconnecting.at(-1)!.delayMs);
  const next = await server.accept({ session: 'session-2' });
  next.push({ ...subscribedAt(9), recovered: true }, message(10));
  expect(made).toEqual([['subscribed', 'subscribing', 'subscribed', 'gap 6-9 lost', 'message 10']]);
});
