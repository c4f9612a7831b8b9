// The `reconnect` push: the new connection first, then the old one goes; no message twice, none missed.
import { expect, it } from 'vitest';
import { createFixture, message, record, refusal, subscribedAt } from './testing/client-fixture.ts';
import { settled } from './testing/manual-clock.ts';

const moving = async () => {
  const fixture = createFixture();
  const old = await fixture.connect();
  const subscription = fixture.client.subscribe('news');
  const events = record(subscription);
  old.reply(await old.next('subscribe'), subscribedAt(10));
  old.push(message(11), { type: 'reconnect', afterMs: 2000, withinMs: 30_000, reason: 'drain' });
  await fixture.clock.advance(1999);
  expect(fixture.server.connections).toHaveLength(1);
  await fixture.clock.advance(1);
  const next = await fixture.server.accept({ node: 'other' });
  return { ...fixture, old, next, subscription, events };
};

it('moves without a change of state, a duplicate or a hole', async () => {
  const { old, next, events, states, client } = await moving();
  const asked = await next.next('subscribe');
  expect(asked.since).toEqual({ epoch: 'e1', offset: 11 });
  old.push(message(12), message(13));
  next.reply(asked, { ...subscribedAt(13), recovered: true });
  expect(old.closed).toEqual({ code: 1000, reason: 'moved' });
  next.push(message(12), message(13), message(14));
  expect(events.slice(2)).toEqual(['message 11', 'message 12', 'message 13', 'message 14']);
  expect(states).toEqual(['connecting', 'connected']);
  expect(client.isConnected).toBe(true);
});

it('without resume, holds the new connection back until the old has caught up', async () => {
  const { old, next, events } = await moving();
  next.reply(await next.next('subscribe'), refusal(108, 'not_available'));
  next.reply(await next.next('subscribe'), subscribedAt(14));
  next.push(message(15), message(16));
  old.push(message(12), message(13));
  expect(old.closed).toBeUndefined();
  old.push(message(14), message(15));
  expect(old.closed).toEqual({ code: 1000, reason: 'moved' });
  next.push(message(17));
  expect(events.slice(2)).toEqual([11, 12, 13, 14, 15, 16, 17].map((offset) => `message ${offset}`));
});

it('reports what is missing when the old connection ends before it has caught up', async () => {
  const { old, next, events, states } = await moving();
  next.reply(await next.next('subscribe'), refusal(108, 'not_available'));
  next.reply(await next.next('subscribe'), subscribedAt(14));
  next.push(message(15));
  old.push(message(12));
  old.drop(1012, 'restart');
  expect(events.slice(2)).toEqual(['message 11', 'message 12', 'gap 13-14 lost', 'message 15']);
  expect(states).toEqual(['connecting', 'connected']);
});

it('leaves at the deadline even when the old connection never caught up', async () => {
  const { old, next, events, clock } = await moving();
  next.reply(await next.next('subscribe'), refusal(108, 'not_available'));
  next.reply(await next.next('subscribe'), subscribedAt(14));
  await clock.advance(27_999);
  expect(old.closed).toBeUndefined();
  await clock.advance(1);
  expect(old.closed).toBeDefined();
  expect(events.slice(2)).toEqual(['message 11', 'gap 12-14 lost']);
});

it('takes the half-open new connection over when the old one ends', async () => {
  const fixture = createFixture();
  const old = await fixture.connect();
  const events = record(fixture.client.subscribe('news'));
  old.reply(await old.next('subscribe'), subscribedAt(10));
  old.push({ type: 'reconnect', afterMs: 0, withinMs: 1000, reason: 'drain' });
  await fixture.clock.advance(0);
  const next = await fixture.server.attempt();
  old.drop(3001, 'drain');
  expect(fixture.states).toEqual(['connecting', 'connected', 'connecting']);
  next.open();
  next.reply(await next.next('connect'), {
    type: 'connected',
    connection: 'c2',
    node: 'n2',
    session: 's',
    pingIntervalMs: 25_000,
    limits: { maxFrameBytes: 65_536, maxSubscriptions: 100 },
    broker: 'ready',
    serverTime: 0,
  });
  next.reply(await next.next('subscribe'), { ...subscribedAt(10), recovered: true });
  expect(events).toEqual(['subscribing', 'subscribed', 'subscribing', 'subscribed']);
  expect(fixture.reconnecting).toEqual([]);
  expect(fixture.server.connections).toHaveLength(2);
});

it('stays, and tries again, when the new connection fails', async () => {
  const { old, next, events, clock, server, states } = await moving();
  next.drop();
  old.push(message(12));
  await clock.advance(500);
  const third = await server.accept();
  const asked = await third.next('subscribe');
  expect(asked.since).toEqual({ epoch: 'e1', offset: 12 });
  third.reply(asked, { ...subscribedAt(12), recovered: true });
  expect(old.closed).toBeDefined();
  expect(events.slice(2)).toEqual(['message 11', 'message 12']);
  expect(states).toEqual(['connecting', 'connected']);
});

it('returns to the old connection with its cursor when the new one breaks in the middle of the move', async () => {
  const fixture = createFixture();
  const old = await fixture.connect();
  const first = record(fixture.client.subscribe('news'));
  fixture.client.subscribe('other');
  old.reply(await old.next('subscribe'), subscribedAt(10));
  old.reply(await old.next('subscribe'), subscribedAt(0, 'e1', 'other'));
  old.push({ type: 'reconnect', afterMs: 0, withinMs: 60_000, reason: 'rebalance' });
  await fixture.clock.advance(0);
  const next = await fixture.server.accept();
  next.reply(await next.next('subscribe'), { ...subscribedAt(11), recovered: true });
  next.push(message(11));
  next.drop();
  old.reply(await old.next('subscribe'), refusal(105, 'already_subscribed'));
  await old.next('unsubscribe');
  const again = await old.next('subscribe');
  expect(again.since).toEqual({ epoch: 'e1', offset: 11 });
  old.reply(again, { ...subscribedAt(12), recovered: true });
  old.push(message(12));
  expect(first).toEqual(['subscribing', 'subscribed', 'message 11', 'subscribing', 'subscribed', 'message 12']);
});

it('sends unanswered publishes again on the new connection, before newer ones', async () => {
  const { old, next, client } = await moving();
  const publishes = [client.publish('news', 'a'), client.publish('news', 'b')];
  const first = await old.next('publish');
  next.reply(await next.next('subscribe'), { ...subscribedAt(11), recovered: true });
  publishes.push(client.publish('news', 'c'));
  const again = await next.next('publish');
  expect(again.messageId).toBe(first.messageId);
  const rest = [await next.next('publish'), await next.next('publish')];
  [again, ...rest].forEach((command, index) =>
    next.reply(command, { type: 'published', channel: 'news', epoch: 'e1', offset: 12 + index, duplicate: false }),
  );
  const positions = await Promise.all(publishes);
  expect(positions.map(({ offset }) => offset)).toEqual([12, 13, 14]);
});

it('makes new subscriptions on the new connection only', async () => {
  const { old, next, client } = await moving();
  const events = record(client.subscribe('late'));
  const asked = [await next.next('subscribe'), await next.next('subscribe')];
  expect(asked.map(({ channel }) => channel)).toEqual(['news', 'late']);
  expect(old.commands.filter(({ type }) => type === 'subscribe')).toHaveLength(1);
  next.reply(asked[0]!, { ...subscribedAt(11), recovered: true });
  expect(old.closed).toBeUndefined();
  next.reply(asked[1]!, subscribedAt(0, 'e1', 'late'));
  expect(old.closed).toBeDefined();
  expect(events).toEqual(['subscribing', 'subscribed']);
});

it('leaves nothing behind when disconnected in the middle of a move', async () => {
  const { old, next, client, clock } = await moving();
  client.disconnect();
  await settled();
  expect([old.closed?.code, next.closed?.code]).toEqual([1000, 1000]);
  expect(clock.timers).toBe(0);
});

it('moves a client without subscriptions at once', async () => {
  const { connect, server, clock } = createFixture();
  const old = await connect();
  old.push({ type: 'reconnect', afterMs: 10, withinMs: 1000, reason: 'max age' });
  await clock.advance(10);
  await server.accept();
  await settled();
  expect(old.closed).toEqual({ code: 1000, reason: 'moved' });
});

it.each(['finished', 'cut short by the close of the old connection'])(
  'follows a reconnect push of the connection it is moving to, once the move is %s',
  async (how) => {
    const { old, next, clock, server, states } = await moving();
    const asked = await next.next('subscribe');
    next.push({ type: 'reconnect', afterMs: 3000, withinMs: 30_000, reason: 'drain' });
    await clock.advance(1000);
    if (how === 'finished') next.reply(asked, { ...subscribedAt(11), recovered: true });
    else old.drop(3001, 'drain');
    // Counted from the push, not from the end of the move.
    await clock.advance(1999);
    expect(server.connections).toHaveLength(2);
    await clock.advance(1);
    const third = await server.accept({ node: 'third' });
    if (how !== 'finished') next.reply(asked, { ...subscribedAt(11), recovered: true });
    third.reply(await third.next('subscribe'), { ...subscribedAt(11), recovered: true });
    expect(next.closed).toEqual({ code: 1000, reason: 'moved' });
    expect(states[1]).toBe('connected');
    expect(states.at(-1)).toBe('connected');
    await clock.advance(30_000);
    expect(server.connections).toHaveLength(3);
  },
);

it.each([
  ['sooner', 5000, 100, 100],
  ['later', 100, 5000, 5000],
])('moves at the newest word when it is told to do so %s', async (_, first, second, afterMs) => {
  const { connect, server, clock } = createFixture();
  const old = await connect();
  old.push({ type: 'reconnect', afterMs: first, withinMs: 10_000, reason: 'rebalance' });
  old.push({ type: 'reconnect', afterMs: second, withinMs: 10_000, reason: 'drain' });
  await clock.advance(afterMs - 1);
  expect(server.connections).toHaveLength(1);
  await clock.advance(1);
  await server.accept();
  await settled();
  expect(old.closed).toEqual({ code: 1000, reason: 'moved' });
  await clock.advance(10_000);
  expect(server.connections).toHaveLength(2);
});
