// Subscriptions over one connection and the next: nothing twice, nothing lost in silence.
import { expect, it, vi } from 'vitest';
import type { Message } from './protocol/wire.ts';
import { createFixture, message, record, refusal, subscribedAt } from './testing/client-fixture.ts';
import { settled } from './testing/manual-clock.ts';

const open = async (fixture = createFixture()) => {
  const connection = await fixture.connect();
  const subscription = fixture.client.subscribe('news');
  const events = record(subscription);
  connection.reply(await connection.next('subscribe'), subscribedAt(10));
  return { ...fixture, connection, subscription, events };
};

it('ends a subscription the server refuses for good, with the error', async () => {
  const { connect, client, errors } = createFixture();
  const connection = await connect();
  const subscription = client.subscribe('secret');
  const ended = vi.fn();
  subscription.on('unsubscribed', ended);
  connection.reply(await connection.next('subscribe'), refusal(103, 'permission_denied'));
  expect(subscription.state).toBe('unsubscribed');
  expect(ended).toHaveBeenCalledWith(expect.objectContaining({ code: 103 }));
  // Nobody watches the errors of the subscription, so the client tells.
  expect(errors).toMatchObject([{ code: 103, name: 'permission_denied' }]);
});

it.each(['before', 'after'])('throws the refusal out of an iteration begun %s it came', async (begun) => {
  const { connect, client } = createFixture();
  const connection = await connect();
  const subscription = client.subscribe('secret');
  const early = subscription[Symbol.asyncIterator]().next();
  early.catch(() => undefined);
  connection.reply(await connection.next('subscribe'), refusal(103, 'permission_denied'));
  const iterator = subscription[Symbol.asyncIterator]();
  await expect(begun === 'before' ? early : iterator.next()).rejects.toMatchObject({ code: 103 });
  if (begun === 'after') await expect(iterator.next()).resolves.toMatchObject({ done: true });
});

it('ends an iteration begun after unsubscribe() without an error', async () => {
  const { subscription } = await open();
  subscription.unsubscribe();
  await expect(subscription[Symbol.asyncIterator]().next()).resolves.toEqual({ done: true, value: undefined });
});

it('tries again after a temporary refusal, when the server says', async () => {
  const { connect, client, clock } = createFixture();
  const connection = await connect();
  const events = record(client.subscribe('news'));
  connection.reply(await connection.next('subscribe'), refusal(114, 'broker_unavailable', true, 3000));
  await clock.advance(2999);
  expect(connection.commands.filter(({ type }) => type === 'subscribe')).toHaveLength(1);
  await clock.advance(1);
  connection.reply(await connection.next('subscribe'), subscribedAt(0));
  expect(events).toEqual(['subscribing', 'error 114', 'subscribed']);
});

it('starts over when the answer came too late and the server says already subscribed', async () => {
  const { connect, client, clock } = createFixture();
  const connection = await connect();
  const events = record(client.subscribe('news'));
  await connection.next('subscribe');
  await clock.advance(10_500);
  connection.reply(await connection.next('subscribe'), refusal(105, 'already_subscribed'));
  await connection.next('unsubscribe');
  connection.reply(await connection.next('subscribe'), subscribedAt(4));
  expect(events).toEqual(['subscribing', 'error 1', 'subscribed']);
});

it('drops duplicates and reports holes', async () => {
  const { connection, events, subscription } = await open();
  connection.push(message(11), message(11), message(9), message(12), message(15));
  expect(events.slice(2)).toEqual(['message 11', 'message 12', 'gap 13-14 lost', 'message 15']);
  expect(subscription.position).toEqual({ epoch: 'e1', offset: 15 });
});

it('handles a reply before the messages behind it in the same frame', async () => {
  const { connect, client } = createFixture();
  const connection = await connect();
  const events = record(client.subscribe('news', { since: { epoch: 'e1', offset: 3 } }));
  const { id } = await connection.next('subscribe');
  connection.push({ ...subscribedAt(5), recovered: true, id: id! }, message(4), message(5), message(6));
  expect(events).toEqual(['subscribing', 'subscribed', 'message 4', 'message 5', 'message 6']);
});

it('resumes after the position it has reached', async () => {
  const { connection, events, reconnect } = await open();
  connection.push(message(11), message(12));
  connection.drop();
  const next = await reconnect();
  const asked = await next.next('subscribe');
  expect(asked.since).toEqual({ epoch: 'e1', offset: 12 });
  next.reply(asked, { ...subscribedAt(14), recovered: true });
  next.push(message(12), message(13), message(14), message(15));
  expect(events.slice(2)).toEqual([
    'message 11',
    'message 12',
    'subscribing',
    'subscribed',
    'message 13',
    'message 14',
    'message 15',
  ]);
});

it.each([108, 112])('goes on live and reports the gap when the server answers %i to the position', async (code) => {
  const { connection, events, reconnect } = await open();
  connection.push(message(11));
  connection.drop();
  const next = await reconnect();
  next.reply(await next.next('subscribe'), refusal(code, 'refused'));
  const live = await next.next('subscribe');
  expect(live.since).toBeUndefined();
  next.reply(live, subscribedAt(20));
  next.push(message(21));
  expect(events.slice(3)).toEqual(['subscribing', 'subscribed', 'gap 12-20 lost', 'message 21']);
});

it('does not call itself recovered when a gap follows, whatever the server says of its live answer', async () => {
  const { connection, reconnect, subscription } = await open();
  const recovered: boolean[] = [];
  subscription.on('subscribed', (event) => recovered.push(event.recovered));
  connection.drop();
  const next = await reconnect();
  next.reply(await next.next('subscribe'), refusal(108, 'not_available'));
  next.reply(await next.next('subscribe'), { ...subscribedAt(20), recovered: true });
  expect(recovered).toEqual([false]);
});

it('reports an epoch gap when the numbering is new', async () => {
  const { connection, events, reconnect, subscription } = await open();
  connection.drop();
  const next = await reconnect();
  next.reply(await next.next('subscribe'), refusal(108, 'not_available'));
  next.reply(await next.next('subscribe'), subscribedAt(2, 'e2'));
  next.push(message(3));
  expect(events.slice(2)).toEqual(['subscribing', 'subscribed', 'gap null-null epoch', 'message 3']);
  expect(subscription.position).toEqual({ epoch: 'e2', offset: 3 });
});

it('reports no gap when nothing was published meanwhile', async () => {
  const { connection, events, reconnect } = await open();
  connection.drop();
  const next = await reconnect();
  next.reply(await next.next('subscribe'), refusal(108, 'not_available'));
  next.reply(await next.next('subscribe'), subscribedAt(10));
  expect(events.slice(2)).toEqual(['subscribing', 'subscribed']);
});

it('keeps the start it counted from the head when the connection breaks before the first message', async () => {
  const { connect, client, reconnect } = createFixture();
  const connection = await connect();
  client.subscribe('news', { since: { last: 5 } });
  const asked = await connection.next('subscribe');
  expect(asked.since).toEqual({ last: 5 });
  connection.reply(asked, { ...subscribedAt(100), recovered: true });
  connection.drop();
  const next = await reconnect();
  expect((await next.next('subscribe')).since).toEqual({ epoch: 'e1', offset: 95 });
});

it('sends the commands of one tick in one frame, at most 64', async () => {
  const { connect, client } = createFixture();
  const connection = await connect();
  const before = connection.frames.length;
  for (let index = 0; index < 70; index++) client.subscribe(`news:${index}`, { policy: 'latest' });
  await settled();
  const sizes = connection.frames.slice(before).map((frame) => (JSON.parse(frame) as unknown[]).length);
  expect(sizes).toEqual([64, 6]);
});

it('gives the same subscription to whoever subscribes to a subscribed channel', async () => {
  const { client, subscription, connection } = await open();
  subscription.on('message', () => client.subscribe('news'));
  connection.push(message(11), message(12));
  expect(client.subscribe('news')).toBe(subscription);
  await settled();
  expect(connection.commands.filter(({ type }) => type === 'subscribe')).toHaveLength(1);
});

it('may be left and made anew inside a handler, without duplicates', async () => {
  const { client, subscription, connection, events } = await open();
  let again: string[] = [];
  subscription.once('message', () => {
    subscription.unsubscribe();
    again = record(client.subscribe('news'));
  });
  connection.push(message(11), message(12));
  await connection.next('unsubscribe');
  // Still from the old subscription, on the way when it ended.
  connection.push(message(13));
  connection.reply(await connection.next('subscribe'), subscribedAt(13));
  connection.push(message(14));
  expect(events.slice(2)).toEqual(['message 11', 'unsubscribed']);
  expect(again).toEqual(['subscribing', 'subscribed', 'message 14']);
});

it('goes on after a handler threw', async () => {
  const { subscription, connection, events, errors } = await open();
  subscription.on('message', () => {
    throw new Error('mine');
  });
  connection.push(message(11), message(12));
  expect(events.slice(2)).toEqual(['message 11', 'message 12']);
  expect(errors.map(({ name }) => name)).toEqual(['handler_failed', 'handler_failed']);
});

it('reads the rest of a frame again after a handler disconnected in the middle of it', async () => {
  const { client, subscription, connection, events, server } = await open();
  subscription.once('message', () => client.disconnect());
  connection.push(message(11), message(12));
  expect(events.slice(2)).toEqual(['message 11', 'subscribing']);
  void client.connect();
  const next = await server.accept();
  expect((await next.next('subscribe')).since).toEqual({ epoch: 'e1', offset: 11 });
});

it('unsubscribes by channel, and does nothing for a channel without a subscription', async () => {
  const { client, subscription, connection, events } = await open();
  client.unsubscribe('other');
  client.unsubscribe('news');
  expect((await connection.next('unsubscribe')).channel).toBe('news');
  expect(subscription.state).toBe('unsubscribed');
  client.unsubscribe('news');
  await settled();
  expect(connection.commands.filter(({ type }) => type === 'unsubscribe')).toHaveLength(1);
  expect(events.slice(2)).toEqual(['unsubscribed']);
  expect(client.subscribe('news')).not.toBe(subscription);
});

it('ends when the server ends it', async () => {
  const { client, subscription, connection } = await open();
  const ended = vi.fn();
  subscription.on('unsubscribed', ended);
  connection.push({ type: 'unsubscribed', channel: 'news', code: 3503, reason: 'kicked' });
  expect(ended).toHaveBeenCalledWith(expect.objectContaining({ code: 3503, reason: 'kicked' }));
  expect(client.subscribe('news')).not.toBe(subscription);
});

it('offers subscriptions the server makes, and reports what they missed', async () => {
  const { connect, client, reconnect } = createFixture();
  const made: string[][] = [];
  client.on('subscription', (subscription) => made.push(record(subscription)));
  const connection = await connect();
  connection.push(subscribedAt(5), message(6));
  connection.drop();
  const next = await reconnect();
  next.push(subscribedAt(9), message(10));
  await settled();
  expect(next.commands.map(({ type }) => type)).toEqual(['connect']);
  expect(made).toEqual([['subscribed', 'message 6', 'subscribing', 'subscribed', 'gap 7-9 lost', 'message 10']]);
});

it('passes ephemeral messages, members and acknowledgements', async () => {
  const { connect, client } = createFixture();
  const connection = await connect();
  const subscription = client.subscribe('typing:1', { presence: true });
  const seen: unknown[] = [];
  subscription.on('join', ({ user }) => seen.push(`join ${user}`));
  subscription.on('leave', ({ user }) => seen.push(`leave ${user}`));
  subscription.on('message', ({ data }) => seen.push(data));
  connection.reply(await connection.next('subscribe'), {
    type: 'subscribed',
    channel: 'typing:1',
    recovered: false,
    policy: 'all',
  });
  const ephemeral: Message = { type: 'message', channel: 'typing:1', data: 'a', time: 0 };
  const member = { user: 'ann' };
  connection.push({ type: 'join', channel: 'typing:1', member }, ephemeral, ephemeral, {
    type: 'leave',
    channel: 'typing:1',
    member,
  });
  expect(seen).toEqual(['join ann', 'a', 'a', 'leave ann']);
  subscription.ack(7);
  expect(await connection.next('ack')).toEqual({ type: 'ack', channel: 'typing:1', offset: 7 });
});

it('iterates messages and ends with the subscription', async () => {
  const { subscription, connection } = await open();
  const read: (number | undefined)[] = [];
  const loop = (async () => {
    for await (const { offset } of subscription) read.push(offset);
  })();
  connection.push(message(11), message(12));
  await settled();
  connection.push(message(13));
  subscription.unsubscribe();
  await loop;
  expect(read).toEqual([11, 12, 13]);
});

it('iterates all of several large frames that arrive before the loop can run', async () => {
  const { subscription, connection } = await open();
  let read = 0;
  const loop = (async () => {
    for await (const { offset } of subscription) read = offset!;
  })();
  const frames = 4;
  const perFrame = 900;
  for (let frame = 0; frame < frames; frame++) {
    connection.push(...Array.from({ length: perFrame }, (_, index) => message(11 + frame * perFrame + index)));
  }
  subscription.unsubscribe();
  await loop;
  expect(read).toBe(10 + frames * perFrame);
});

it('throws out of an iteration that fell too far behind, after what it had buffered', async () => {
  const { subscription, connection } = await open(createFixture({ maxIteratorMessages: 2 }));
  const iterator = subscription[Symbol.asyncIterator]();
  connection.push(message(11), message(12), message(13));
  await expect(iterator.next()).resolves.toMatchObject({ value: { offset: 11 } });
  await expect(iterator.next()).resolves.toMatchObject({ value: { offset: 12 } });
  await expect(iterator.next()).rejects.toMatchObject({ name: 'iteration_overflow' });
  await expect(iterator.next()).resolves.toEqual({ done: true, value: undefined });
});
