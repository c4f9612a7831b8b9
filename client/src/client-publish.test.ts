// Publishing: in order, bounded, answered with a position or a typed error.
import { expect, it } from 'vitest';
import { createFixture, refusal } from './testing/client-fixture.ts';
import { settled } from './testing/manual-clock.ts';
import type { CommandOf, TestConnection } from './testing/test-server.ts';

const answer = (connection: TestConnection, command: CommandOf<'publish'>, offset: number, duplicate = false): void =>
  connection.reply(command, { type: 'published', channel: command.channel, epoch: 'e1', offset, duplicate });
const sent = (connection: TestConnection): unknown[] =>
  connection.commands.flatMap((command) => (command.type === 'publish' ? [command.data] : []));

it('rejects a publish the server refuses for good', async () => {
  const { connect, client } = createFixture();
  const connection = await connect();
  const publish = client.publish('news', 1);
  connection.reply(await connection.next('publish'), refusal(103, 'permission_denied'));
  await expect(publish).rejects.toMatchObject({ code: 103, name: 'permission_denied', temporary: false });
});

it('rejects the newest when the queue is full, by count and by bytes', async () => {
  const byCount = createFixture({ publish: { maxMessages: 2 } }).client;
  const kept = [byCount.publish('news', 1), byCount.publish('news', 2)];
  await expect(byCount.publish('news', 3)).rejects.toMatchObject({ name: 'queue_overflow', temporary: true });
  byCount.connect().catch(() => undefined);
  byCount.disconnect();
  await Promise.allSettled(kept);

  const byBytes = createFixture({ publish: { maxBytes: 100 } }).client;
  await expect(byBytes.publish('news', 'x'.repeat(100))).rejects.toMatchObject({ name: 'queue_overflow' });
});

it('rejects what is not JSON, and what is larger than the server takes', async () => {
  const { client, server } = createFixture();
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  await expect(client.publish('news', cycle)).rejects.toMatchObject({ name: 'bad_request' });
  await expect(client.publish('news', 1n)).rejects.toMatchObject({ name: 'bad_request' });
  void client.connect();
  const connection = await server.accept({ limits: { maxFrameBytes: 200, maxSubscriptions: 1 } });
  await settled();
  await expect(client.publish('news', 'ü'.repeat(90))).rejects.toMatchObject({ name: 'limit_exceeded' });
  expect(sent(connection)).toEqual([]);
});

it('gives up on temporary errors after the bound, with the last one', async () => {
  const { connect, client, clock } = createFixture({ publish: { maxAttempts: 3 } });
  const connection = await connect();
  const publish = client.publish('news', 1);
  const ids = new Set<string | undefined>();
  for (let attempt = 0; attempt < 3; attempt++) {
    const command = await connection.next('publish');
    ids.add(command.messageId);
    connection.reply(command, refusal(115, 'overloaded', true, 2000));
    void clock.advance(2000);
  }
  await expect(publish).rejects.toMatchObject({ name: 'overloaded', retryAfterMs: 2000 });
  expect(ids).toEqual(new Set(['id-1']));
});

it('waits as often as a rate limit asks for', async () => {
  const { connect, client, clock } = createFixture({ publish: { maxAttempts: 2 } });
  const connection = await connect();
  const publish = client.publish('news', 1);
  for (let attempt = 0; attempt < 6; attempt++) {
    connection.reply(await connection.next('publish'), refusal(111, 'too_many_requests', true, 2000));
    await clock.advance(2000);
  }
  answer(connection, await connection.next('publish'), 1);
  expect(await publish).toMatchObject({ offset: 1 });
});

it.each([
  [100, 'internal'],
  [111, 'too_many_requests'],
  [114, 'broker_unavailable'],
  [115, 'overloaded'],
])('retries after %i %s with the same messageId, and holds the later ones back', async (code, name) => {
  const { connect, client, clock } = createFixture();
  const connection = await connect();
  const first = client.publish('news', 'a');
  connection.reply(await connection.next('publish'), refusal(code, name, true, 2000));
  const second = client.publish('news', 'b');
  await clock.advance(1999);
  expect(sent(connection)).toEqual(['a']);
  await clock.advance(1);
  expect(sent(connection)).toEqual(['a', 'a', 'b']);
  answer(connection, await connection.next('publish'), 1);
  answer(connection, await connection.next('publish'), 2);
  await expect(first).resolves.toMatchObject({ epoch: 'e1', offset: 1, duplicate: false });
  await expect(second).resolves.toMatchObject({ offset: 2 });
});

it('retries a publish nobody answered', async () => {
  const { connect, client, clock } = createFixture();
  const connection = await connect();
  const publish = client.publish('news', 'a');
  const first = await connection.next('publish');
  await clock.advance(10_500);
  const second = await connection.next('publish');
  expect(second.messageId).toBe(first.messageId);
  answer(connection, second, 4, true);
  await expect(publish).resolves.toMatchObject({ offset: 4, duplicate: true });
});

it('sends what was published offline in order, encoded as it was then', async () => {
  const { connect, client } = createFixture();
  const data = { n: 1 };
  const publishes = [client.publish('news', data), client.publish('news', 2, { key: 'k', messageId: 'mine' })];
  data.n = 99;
  const connection = await connect();
  const first = await connection.next('publish');
  const second = await connection.next('publish');
  expect(first).toMatchObject({ data: { n: 1 }, messageId: 'id-1' });
  expect(second).toMatchObject({ data: 2, key: 'k', messageId: 'mine' });
  answer(connection, first, 1);
  answer(connection, second, 2);
  await expect(Promise.all(publishes)).resolves.toHaveLength(2);
});

it('sends unanswered publishes again on the next connection, before newer ones, with the same messageIds', async () => {
  const { connect, client, server, clock } = createFixture();
  const first = await connect();
  const publishes = ['a', 'b', 'c'].map((data) => client.publish('news', data));
  answer(first, await first.next('publish'), 1);
  await settled();
  first.drop();
  publishes.push(client.publish('news', 'd'));
  await clock.advance(500);
  const second = await server.accept();
  await settled();
  expect(sent(second)).toEqual(['b', 'c', 'd']);
  for (let offset = 2; offset <= 4; offset++) {
    const command = await second.next('publish');
    expect(command.messageId).toBe(`id-${offset}`);
    answer(second, command, offset, offset < 4);
  }
  const positions = await Promise.all(publishes);
  expect(positions.map(({ offset, duplicate }) => [offset, duplicate])).toEqual([
    [1, false],
    [2, true],
    [3, true],
    [4, false],
  ]);
});

it('says that the outcome is unknown when a sent publish is too old to be recognised', async () => {
  const { connect, client, server, clock } = createFixture();
  const first = await connect();
  const publish = client.publish('news', 'a');
  await first.next('publish');
  first.drop(1013, 'retryAfterMs=300001');
  await clock.advance(300_001);
  const second = await server.accept();
  await expect(publish).rejects.toMatchObject({ name: 'outcome_unknown', temporary: false });
  expect(sent(second)).toEqual([]);
});

it('waits while the socket has too much to send, and keeps the order', async () => {
  const { connect, client, clock } = createFixture();
  const connection = await connect();
  connection.bufferedBytes = 10_241;
  const publishes = ['a', 'b'].map((data) => client.publish('news', data));
  await clock.advance(1000);
  expect(sent(connection)).toEqual([]);
  connection.bufferedBytes = 10_240;
  publishes.push(client.publish('news', 'c'));
  await clock.advance(10);
  expect(sent(connection)).toEqual(['a', 'b', 'c']);
  for (const offset of [1, 2, 3]) answer(connection, await connection.next('publish'), offset);
  await Promise.all(publishes);
});

it('sends at most 512 unanswered, in order; every final answer makes room for the next', async () => {
  const { connect, client, server, clock } = createFixture();
  const first = await connect();
  const order = Array.from({ length: 600 }, (_, index) => index);
  const outcomes = order.map((data) => client.publish('news', data).catch((error: unknown) => error));
  await settled();
  expect(sent(first)).toEqual(order.slice(0, 512));
  first.reply(await first.next('publish'), refusal(103, 'permission_denied'));
  await settled();
  expect(sent(first)).toEqual(order.slice(0, 513));
  answer(first, await first.next('publish'), 1);
  await settled();
  expect(sent(first)).toEqual(order.slice(0, 514));
  await expect(outcomes[0]).resolves.toMatchObject({ code: 103 });
  // What the next connection carries is bounded anew.
  first.drop();
  await clock.advance(500);
  const second = await server.accept();
  await settled();
  expect(sent(second)).toEqual(order.slice(2, 514));
  for (let offset = 2; offset < 600; offset++) answer(second, await second.next('publish'), offset);
  expect(sent(second)).toEqual(order.slice(2));
  await Promise.all(outcomes);
});

it('sends no more while 1 MiB is unanswered', async () => {
  const { client, server, clock } = createFixture();
  void client.connect();
  const limits = { maxFrameBytes: 1_000_000, maxSubscriptions: 1 };
  const first = await server.accept({ limits });
  await settled();
  for (let index = 0; index < 14; index++) client.publish('news', 'x'.repeat(100_000)).catch(() => undefined);
  await settled();
  expect(sent(first)).toHaveLength(11);
  answer(first, await first.next('publish'), 1);
  await settled();
  expect(sent(first)).toHaveLength(12);
  first.drop();
  await clock.advance(500);
  const second = await server.accept({ limits });
  await settled();
  expect(sent(second)).toHaveLength(11);
  client.disconnect();
});

it('never puts more bytes into a frame than the server takes', async () => {
  const { client, server } = createFixture({ publish: { maxBufferedBytes: 1_000_000 } });
  void client.connect();
  const connection = await server.accept({ limits: { maxFrameBytes: 1000, maxSubscriptions: 1 } });
  await settled();
  for (let index = 0; index < 20; index++) client.publish('news', 'x'.repeat(250)).catch(() => undefined);
  await settled();
  expect(sent(connection)).toHaveLength(20);
  for (const frame of connection.frames) expect(frame.length).toBeLessThanOrEqual(1000);
  client.disconnect();
});
