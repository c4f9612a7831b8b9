// Tries a built bundle the way an application uses it: a name shortened that somebody outside reads fails here.
import assert from 'node:assert/strict';

/** Resolves when a connection, a subscription, an acknowledged iteration, a publish, a resume and a move went well. */
export const checkBundle = async ({ WeirClient, WeirError }, { createManualClock, createTestServer }) => {
  const server = createTestServer();
  const clock = createManualClock();
  const createId = () => 'id-1';
  const internals = { clock, random: () => 0.5, createId };
  const client = new WeirClient('ws://test', { transport: server.transport, getToken: () => 'token', internals });
  const events = [];
  client.on('reconnecting', ({ attempt, delayMs }) => events.push(`attempt ${attempt} in ${delayMs} ms`));

  void client.connect();
  const first = await server.accept({ expiresInMs: 60_000 });
  assert.equal(first.commands[0].token, 'token');
  const subscription = client.subscribe('news', { policy: 'ack', window: 2 });
  subscription.on('gap', ({ from, to, reason }) => events.push(`gap ${from}-${to} ${reason}`));
  const subscribed = { type: 'subscribed', channel: 'news', epoch: 'e1', offset: 0, recovered: true, policy: 'ack' };
  first.reply(await first.next('subscribe'), subscribed);
  const message = (offset) => ({ type: 'message', channel: 'news', offset, data: offset, time: 0 });
  first.push(message(1), message(3));
  const loop = subscription[Symbol.asyncIterator]();
  const next = loop.next();
  first.push(message(4), message(5));
  assert.equal((await next).value.offset, 4);
  await loop.next();
  assert.equal((await first.next('ack')).offset, 4);

  const publish = client.publish('news', 'x', { key: 'k' });
  assert.equal((await first.next('publish')).messageId, 'id-1');
  first.drop();
  await clock.advance(500);
  const second = await server.accept();
  assert.equal(second.commands[0].session, 'session-1');
  const resumed = await second.next('subscribe');
  assert.deepEqual(resumed.since, { epoch: 'e1', offset: 5 });
  second.reply(resumed, { ...subscribed, offset: 5 });
  const place = { channel: 'news', epoch: 'e1', offset: 6, duplicate: true };
  second.reply(await second.next('publish'), { type: 'published', ...place });
  assert.deepEqual(await publish, place);

  second.push({ type: 'reconnect', afterMs: 0, withinMs: 1000, reason: 'drain' });
  await clock.advance(0);
  const third = await server.accept();
  third.reply(await third.next('subscribe'), { ...subscribed, offset: 5 });
  assert.deepEqual(second.closed, { code: 1000, reason: 'moved' });
  const refused = client.history('news', { limit: 1 });
  const refusal = { type: 'error', code: 114, name: 'broker_unavailable', message: '', temporary: true };
  third.reply(await third.next('history'), { ...refusal, retryAfterMs: 7 });
  const error = await refused.catch((thrown) => thrown);
  assert.ok(error instanceof WeirError);
  assert.deepEqual([error.code, error.name, error.temporary, error.retryAfterMs], [114, 'broker_unavailable', true, 7]);
  assert.deepEqual(events, ['gap 2-2 lost', 'attempt 1 in 500 ms']);
  client.disconnect();
  assert.equal(client.state, 'disconnected');
};
