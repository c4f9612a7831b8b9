// Policy `ack`: the application, or a loop on its behalf, tells how far it has come.
import { expect, it } from 'vitest';
import { createFixture, message, subscribedAt } from './testing/client-fixture.ts';
import { settled } from './testing/manual-clock.ts';
import type { TestConnection } from './testing/test-server.ts';

const acks = ({ commands }: TestConnection): number[] =>
  commands.flatMap((command) => (command.type === 'ack' ? [command.offset] : []));
const at = (offset: number) => ({ ...subscribedAt(offset), recovered: true, policy: 'ack' as const });

const open = async () => {
  const fixture = createFixture();
  const connection = await fixture.connect();
  const subscription = fixture.client.subscribe('news', { policy: 'ack', window: 3 });
  const asked = await connection.next('subscribe');
  connection.reply(asked, at(10));
  return { ...fixture, connection, subscription, asked };
};

it('sends policy and window', async () => {
  expect((await open()).asked).toMatchObject({ policy: 'ack', window: 3 });
});

it('acknowledges a message of an iteration when the loop asks for the next', async () => {
  const { connection, subscription } = await open();
  const loop = subscription[Symbol.asyncIterator]();
  connection.push(message(11), message(12), message(13));
  await loop.next();
  await settled();
  expect(acks(connection)).toEqual([]);
  await loop.next();
  await settled();
  expect(acks(connection)).toEqual([11]);
  // The one that is being worked on when the loop is left is not.
  await loop.return!();
  await settled();
  expect(acks(connection)).toEqual([11]);
});

it('acknowledges in an iteration when the policy is the namespace’s, and not under another policy', async () => {
  const { connect, client } = createFixture();
  const connection = await connect();
  const subscription = client.subscribe('news');
  const asked = await connection.next('subscribe');
  connection.reply(asked, { ...at(10), policy: 'latest' });
  const loop = subscription[Symbol.asyncIterator]();
  connection.push(message(11), message(12));
  await loop.next();
  await loop.next();
  await settled();
  expect(acks(connection)).toEqual([]);
});

it('resumes after the last delivered, acknowledged or not: nothing comes twice', async () => {
  const { connection, subscription, reconnect } = await open();
  connection.push(message(11), message(12), message(13));
  subscription.ack(11);
  connection.drop();
  const next = await reconnect();
  const asked = await next.next('subscribe');
  expect(asked).toMatchObject({ since: { epoch: 'e1', offset: 13 }, policy: 'ack', window: 3 });
});

it('acknowledges again what another connection brings again, so that its window cannot stay full', async () => {
  const { connection, subscription, clock, server } = await open();
  const seen: (number | undefined)[] = [];
  subscription.on('message', ({ offset }) => seen.push(offset));
  connection.push({ type: 'reconnect', afterMs: 0, withinMs: 1000, reason: 'drain' });
  await clock.advance(0);
  const next = await server.accept();
  const asked = await next.next('subscribe');
  connection.push(message(11), message(12), message(13));
  subscription.ack(12);
  next.reply(asked, at(13));
  next.push(message(11), message(12), message(13));
  await settled();
  // 13 is delivered but not acknowledged yet; here as there.
  expect([acks(connection), acks(next)]).toEqual([[], [11, 12]]);
  subscription.ack();
  await settled();
  expect(acks(next)).toEqual([11, 12, 13]);
  expect(seen).toEqual([11, 12, 13]);
});

it('does not acknowledge a message of an older numbering in a newer one', async () => {
  const { connection, subscription } = await open();
  const loop = subscription[Symbol.asyncIterator]();
  connection.push(message(11), {
    type: 'gap',
    channel: 'news',
    from: null,
    to: null,
    count: null,
    reason: 'epoch',
    epoch: 'e2',
    offset: 0,
  });
  connection.push(message(1));
  await loop.next();
  await loop.next();
  await settled();
  expect(acks(connection)).toEqual([]);
  connection.push(message(2));
  await loop.next();
  await settled();
  expect(acks(connection)).toEqual([1]);
});

it('tells a conflated gap like any other', async () => {
  const { connection, subscription } = await open();
  const gaps: unknown[] = [];
  subscription.on('gap', ({ from, to, count, reason }) => gaps.push({ from, to, count, reason }));
  connection.push({ type: 'gap', channel: 'news', from: 11, to: 14, count: 4, reason: 'conflated' }, message(15));
  expect(gaps).toEqual([{ from: 11, to: 14, count: 4, reason: 'conflated' }]);
  expect(subscription.position).toEqual({ epoch: 'e1', offset: 15 });
});
