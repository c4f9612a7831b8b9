import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor, type WireObject, type WsClient } from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const MAX_SUBSCRIPTIONS = 8;

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({ WEIR_MAX_SUBSCRIPTIONS: String(MAX_SUBSCRIPTIONS) });
});
afterEach(() => gateway.giveBack());
afterAll(async () => {
  await gateway.isIdle();
  await gateway.stop();
});

let channels = 0;
/** A channel no other test uses. */
const fresh = (): string => `commands-${++channels}`;
const connect = (options?: Parameters<GatewayUnderTest['connect']>[0]): Promise<WsClient> => gateway.connect(options);
const error = (code: number, name: string): Record<string, unknown> => ({
  type: 'error',
  code,
  name,
  temporary: false,
  message: expect.any(String) as string,
});
const offsetsOf = (messages: readonly WireObject[]): unknown[] => messages.map(({ offset }) => offset);
const dataOf = (messages: readonly WireObject[]): unknown[] => messages.map(({ data }) => data);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
/** Everything the node sent before it answered a ping that was sent now. */
const settled = async (client: WsClient): Promise<readonly WireObject[]> => {
  await client.expect('ping');
  return client.received;
};

describe('connect', () => {
  it('answers who and where the connection is, and what limits it has', async () => {
    const before = Date.now();
    const { connected } = await connect({ connect: { client: { name: 'test', version: '1' } } });
    expect(connected).toMatchObject({
      type: 'connected',
      id: 1,
      connection: expect.stringMatching(/./) as string,
      session: expect.stringMatching(/./) as string,
      node: 'under-test',
      broker: 'ready',
      pingIntervalMs: 25_000,
      limits: { maxFrameBytes: 65_536, maxSubscriptions: MAX_SUBSCRIPTIONS },
    });
    expect(connected?.['serverTime']).toBeGreaterThanOrEqual(before - 1000);
    expect(connected?.['serverTime']).toBeLessThanOrEqual(Date.now() + 1000);
  });

  it('names every connection and session differently', async () => {
    const replies = (await Promise.all([connect(), connect()])).map(({ connected }) => connected!);
    expect(new Set(replies.flatMap(({ connection, session }) => [connection, session])).size).toBe(4);
  });

  it('is refused a second time and leaves the connection usable', async () => {
    const client = await connect();
    expect(await client.command('connect')).toMatchObject(error(107, 'bad_request'));
    expect(await client.command('ping')).toMatchObject({ type: 'pong' });
  });

  it('may be left out by anonymous clients, and is refused after another command stood for it', async () => {
    const client = await connect({ connect: false });
    expect(await client.command('subscribe', { channel: fresh() })).toMatchObject({ type: 'subscribed' });
    expect(await client.command('connect')).toMatchObject(error(107, 'bad_request'));
  });

  it('answers 101 to what is no token, and never repeats it', async () => {
    const client = await connect({ connect: false });
    const reply = await client.command('connect', { token: 'very.secret.token' });
    expect(reply).toMatchObject(error(101, 'unauthorized'));
    expect(JSON.stringify(client.received)).not.toContain('very.secret');
  });

  it('may be followed by commands that do not wait for its reply', async () => {
    const client = await connect({ connect: false });
    const channel = fresh();
    const replies = await client.commands([
      { type: 'connect' },
      { type: 'subscribe', channel },
      { type: 'publish', channel, data: 1 },
    ]);
    expect(replies.map(({ type }) => type)).toEqual(['connected', 'subscribed', 'published']);
  });
});

describe('subscribe', () => {
  it('starts live at the head: nothing older arrives, everything newer does', async () => {
    const channel = fresh();
    const old = await gateway.publish(channel, 'old');
    const client = await connect();
    expect(await client.command('subscribe', { channel })).toMatchObject({
      type: 'subscribed',
      channel,
      epoch: old.epoch,
      offset: 1,
      recovered: true,
      policy: 'all',
    });
    await gateway.publish(channel, 'new');
    await client.waitForMessages(1);
    await settled(client);
    expect(client.messages()).toMatchObject([{ type: 'message', channel, data: 'new', offset: 2 }]);
  });

  it('gives a channel nobody published to a position before its first message', async () => {
    const channel = fresh();
    const client = await connect();
    const { epoch, offset } = await client.expect('subscribe', { channel });
    expect(offset).toBe(0);
    expect(await gateway.publish(channel, 1)).toMatchObject({ epoch, offset: 1 });
  });

  it('sends a subscribed reply before the first message of the channel', async () => {
    const channel = fresh();
    const client = await connect();
    const publishing = Promise.all(upTo(20).map((n) => gateway.publish(channel, n)));
    const { offset } = await client.expect('subscribe', { channel });
    await publishing;
    await client.waitForMessages(20 - Number(offset));
    const first = client.received.findIndex(({ type }) => type === 'message');
    const reply = client.received.findIndex(({ type }) => type === 'subscribed');
    if (first !== -1) expect(reply).toBeLessThan(first);
    expect(offsetsOf(client.messages())).toEqual(upTo(20).slice(Number(offset)));
  });

  it('is refused with 105 for a channel that is subscribed or being subscribed already', async () => {
    const channel = fresh();
    const client = await connect();
    const [first, second] = await client.commands([
      { type: 'subscribe', channel },
      { type: 'subscribe', channel },
    ]);
    expect(first).toMatchObject({ type: 'subscribed' });
    expect(second).toMatchObject(error(105, 'already_subscribed'));
    expect(await client.command('subscribe', { channel })).toMatchObject(error(105, 'already_subscribed'));
    await gateway.publish(channel, 'once');
    await client.waitForMessages(1);
    await settled(client);
    expect(client.messages()).toHaveLength(1);
  });

  it('is refused with 106 at the limit of subscriptions, which an unsubscribe makes room under', async () => {
    const client = await connect();
    const names = upTo(MAX_SUBSCRIPTIONS).map(() => fresh());
    for (const channel of names) await client.expect('subscribe', { channel });
    expect(await client.command('subscribe', { channel: fresh() })).toMatchObject(error(106, 'limit_exceeded'));
    await client.expect('unsubscribe', { channel: names[0] });
    expect(await client.command('subscribe', { channel: fresh() })).toMatchObject({ type: 'subscribed' });
  });

  it.each([
    ['presence, which this node does not serve yet', { presence: true }, error(108, 'not_available')],
    ['a policy that the namespace does not allow', { policy: 'latest' }, error(103, 'permission_denied')],
    ['a window without policy ack', { window: 10 }, error(107, 'bad_request')],
  ])('refuses %s, and subscribes to nothing', async (_, fields, expected) => {
    const channel = fresh();
    const client = await connect();
    expect(await client.command('subscribe', { channel, ...fields })).toMatchObject(expected);
    await gateway.publish(channel, 1);
    await settled(client);
    expect(client.messages()).toEqual([]);
    expect(await client.command('subscribe', { channel, policy: 'all', presence: false })).toMatchObject({
      type: 'subscribed',
    });
  });

  it('delivers one publication to every subscriber with the same offset, data and time', async () => {
    const channel = fresh();
    const clients = await Promise.all(upTo(5).map(() => connect()));
    await Promise.all(clients.map((client) => client.expect('subscribe', { channel })));
    await gateway.publish(channel, { text: 'to all' }, { key: 'k' });
    const received = await Promise.all(clients.map((client) => client.waitForMessages(1)));
    expect(received[0]).toMatchObject([
      { offset: 1, data: { text: 'to all' }, key: 'k', time: expect.any(Number) as number },
    ]);
    for (const messages of received) expect(messages).toEqual(received[0]);
  });
});

describe('unsubscribe', () => {
  it('is refused with 113 when the channel is not subscribed', async () => {
    const client = await connect();
    expect(await client.command('unsubscribe', { channel: fresh() })).toMatchObject(error(113, 'not_subscribed'));
  });

  it('ends the subscription: no message follows its reply', async () => {
    const channel = fresh();
    const [client, witness] = await Promise.all([connect(), connect()]);
    await Promise.all([client, witness].map((one) => one.expect('subscribe', { channel })));
    await gateway.publish(channel, 1);
    await client.waitForMessages(1);
    expect(await client.command('unsubscribe', { channel })).toMatchObject({ type: 'unsubscribed', channel });
    await gateway.publish(channel, 2);
    await witness.waitForMessages(2);
    await settled(client);
    expect(client.messages()).toHaveLength(1);
    expect(await client.command('unsubscribe', { channel })).toMatchObject(error(113, 'not_subscribed'));
  });

  it('ends a subscription that is still being opened, whose command then fails with 113', async () => {
    const channel = fresh();
    const client = await connect();
    const [subscribed, unsubscribed] = await client.commands([
      { type: 'subscribe', channel },
      { type: 'unsubscribe', channel },
    ]);
    expect(unsubscribed).toMatchObject({ type: 'unsubscribed', channel });
    expect(subscribed).toMatchObject(error(113, 'not_subscribed'));
    await gateway.publish(channel, 'nobody listens');
    await settled(client);
    expect(client.messages()).toEqual([]);
  });

  it('can be followed by a new subscription in the same frame', async () => {
    const channel = fresh();
    const client = await connect();
    const replies = await client.commands([
      { type: 'subscribe', channel },
      { type: 'unsubscribe', channel },
      { type: 'subscribe', channel },
    ]);
    expect(replies[1]).toMatchObject({ type: 'unsubscribed' });
    expect(replies[2]).toMatchObject({ type: 'subscribed' });
    await gateway.publish(channel, 'once');
    await client.waitForMessages(1);
    await settled(client);
    expect(client.messages()).toHaveLength(1);
  });
});

describe('publish', () => {
  it('answers the position, and reaches subscribers stamped with the connection that published', async () => {
    const channel = fresh();
    const [publisher, subscriber] = await Promise.all([connect(), connect()]);
    const { epoch } = await subscriber.expect('subscribe', { channel });
    expect(await publisher.command('publish', { channel, data: { n: 1 }, key: 'k' })).toMatchObject({
      type: 'published',
      channel,
      epoch,
      offset: 1,
      duplicate: false,
    });
    const [message] = await subscriber.waitForMessages(1);
    expect(message).toMatchObject({
      channel,
      data: { n: 1 },
      key: 'k',
      offset: 1,
      publisher: { connection: publisher.connected?.['connection'] },
    });
  });

  it('needs no subscription, and reaches the publisher itself when it has one', async () => {
    const channel = fresh();
    const client = await connect();
    expect(await client.command('publish', { channel, data: 1 })).toMatchObject({ offset: 1 });
    await client.expect('subscribe', { channel });
    await client.expect('publish', { channel, data: 2 });
    expect(await client.waitForMessages(1)).toMatchObject([{ data: 2, offset: 2 }]);
  });

  it('ignores a publisher, offset and time that the client made up', async () => {
    const channel = fresh();
    const [publisher, subscriber] = await Promise.all([connect(), connect()]);
    await subscriber.expect('subscribe', { channel });
    const forged = { publisher: { user: 'root', connection: 'c' }, offset: 99, time: 1, epoch: 'x' };
    await publisher.expect('publish', { channel, data: 1, ...forged });
    const [message] = await subscriber.waitForMessages(1);
    expect(message?.['publisher']).toEqual({ connection: publisher.connected?.['connection'] });
    expect(message).toMatchObject({ offset: 1 });
    expect(message?.['time']).toBeGreaterThan(1);
  });

  it('gives publications by HTTP no publisher', async () => {
    const channel = fresh();
    const client = await connect();
    await client.expect('subscribe', { channel });
    await gateway.publish(channel, 1, { publisher: { connection: 'forged' } });
    const [message] = await client.waitForMessages(1);
    expect(message).not.toHaveProperty('publisher');
  });

  it('answers a known messageId with the first position and delivers once', async () => {
    const channel = fresh();
    const [publisher, subscriber] = await Promise.all([connect(), connect()]);
    await subscriber.expect('subscribe', { channel });
    const command = { type: 'publish', channel, data: 'first', messageId: 'm-1' };
    const first = await publisher.expect('publish', command);
    const again = await publisher.commands([command, { ...command, data: 'other' }]);
    for (const reply of again) {
      expect(reply).toMatchObject({ type: 'published', epoch: first['epoch'], offset: 1, duplicate: true });
    }
    expect(await gateway.publish(channel, 'by http', { messageId: 'm-1' })).toMatchObject({
      offset: 1,
      duplicate: true,
    });
    await publisher.expect('publish', { channel, data: 'second', messageId: 'm-2' });
    await subscriber.waitForMessages(2);
    expect(dataOf(subscriber.messages())).toEqual(['first', 'second']);
  });

  it.each([
    ['no data', { channel: 'c' }],
    ['no channel', { data: 1 }],
    ['an empty messageId', { channel: 'c', data: 1, messageId: '' }],
    ['a numeric key', { channel: 'c', data: 1, key: 7 }],
  ])('is refused with 107 when it has %s', async (_, fields) => {
    const client = await connect();
    expect(await client.command('publish', fields)).toMatchObject(error(107, 'bad_request'));
  });

  it.each([
    ['null', null],
    ['false', false],
    ['zero', 0],
    ['an empty string', ''],
    ['an empty object', {}],
    ['an array', [1, [2], {}]],
    ['every plane of Unicode', 'ä € 漢 😀 \u0000 \u2028 \u2029 " \\ \ud83d\ude00 é'],
    ['a key called __proto__', JSON.parse('{"__proto__":{"admin":true},"type":"message","offset":7}') as unknown],
  ])('carries %s unchanged', async (_, data) => {
    const channel = fresh();
    const client = await connect();
    await client.expect('subscribe', { channel });
    await client.expect('publish', { channel, data });
    await gateway.publish(channel, data);
    const messages = await client.waitForMessages(2);
    expect(dataOf(messages).map((one) => JSON.stringify(one))).toEqual([data, data].map((one) => JSON.stringify(one)));
  });
});

describe('history', () => {
  const fill = async (count: number): Promise<{ channel: string; epoch: string; client: WsClient }> => {
    const channel = fresh();
    const client = await connect();
    const replies = await client.commands(upTo(count).map((n) => ({ type: 'publish', channel, data: n })));
    return { channel, epoch: String(replies[0]?.['epoch']), client };
  };
  const read = async (
    client: WsClient,
    fields: Record<string, unknown>,
  ): Promise<WireObject & { messages: WireObject[] }> =>
    (await client.command('history', fields)) as WireObject & { messages: WireObject[] };

  it.each([
    ['everything from the oldest when it asks for nothing', {}, [1, 2, 3, 4, 5], false],
    ['everything since earliest', { since: 'earliest' }, [1, 2, 3, 4, 5], false],
    ['the first page of a limit', { limit: 2 }, [1, 2], true],
    ['the newest first in reverse', { reverse: true, limit: 2 }, [5, 4], true],
    ['the last n in order', { since: { last: 2 } }, [4, 5], false],
    ['the last n in reverse', { since: { last: 2 }, reverse: true }, [5, 4], false],
    ['all there is when the last n are more', { since: { last: 50 } }, [1, 2, 3, 4, 5], false],
    ['nothing of the last 0', { since: { last: 0 } }, [], false],
  ])('reads %s', async (_, fields, offsets, more) => {
    const { channel, epoch, client } = await fill(5);
    const reply = await read(client, { channel, ...fields });
    expect(reply).toMatchObject({ type: 'history', channel, epoch, offset: 5, more });
    expect(offsetsOf(reply.messages)).toEqual(offsets);
  });

  it('reads what follows a position, and what precedes it in reverse', async () => {
    const { channel, epoch, client } = await fill(5);
    const after = await read(client, { channel, since: { epoch, offset: 3 } });
    expect(offsetsOf(after.messages)).toEqual([4, 5]);
    const before = await read(client, { channel, since: { epoch, offset: 3 }, reverse: true });
    expect(offsetsOf(before.messages)).toEqual([2, 1]);
    const head = await read(client, { channel, since: { epoch, offset: 5 } });
    expect(head).toMatchObject({ messages: [], more: false });
  });

  it('pages through everything with the position of the last message', async () => {
    const { channel, epoch, client } = await fill(7);
    const seen: unknown[] = [];
    for (let offset = 0, more = true; more; ) {
      const page = await read(client, { channel, limit: 3, since: { epoch, offset } });
      seen.push(...offsetsOf(page.messages));
      ({ more } = page as unknown as { more: boolean });
      offset = Number(seen.at(-1));
    }
    expect(seen).toEqual(upTo(7));
  });

  it('carries what the live message carried', async () => {
    const channel = fresh();
    const client = await connect();
    await client.expect('subscribe', { channel });
    await client.expect('publish', { channel, data: { a: [1] }, key: 'k' });
    const [{ type, channel: named, ...message } = {}] = (await client.waitForMessages(1)) as Record<string, unknown>[];
    expect([type, named]).toEqual(['message', channel]);
    expect((await read(client, { channel })).messages).toEqual([message]);
  });

  it('of a channel nobody published to is empty at offset 0', async () => {
    const client = await connect();
    expect(await read(client, { channel: fresh() })).toMatchObject({ offset: 0, messages: [], more: false });
  });

  it('is refused with 112 since a position of another epoch or beyond the head', async () => {
    const { channel, epoch, client } = await fill(2);
    for (const since of [
      { epoch: `${epoch}x`, offset: 1 },
      { epoch, offset: 3 },
    ]) {
      expect(await client.command('history', { channel, since })).toMatchObject(error(112, 'unrecoverable_position'));
    }
  });

  it.each([
    { limit: 0 },
    { limit: 1001 },
    { limit: 1.5 },
    { since: { offset: 1 } },
    { since: 'latest' },
    { reverse: 1 },
  ])('is refused with 107 for %j', async (fields) => {
    const client = await connect();
    expect(await client.command('history', { channel: 'c', ...fields })).toMatchObject(error(107, 'bad_request'));
  });

  it('keeps a thousand messages of a channel and drops the oldest', async () => {
    const channel = fresh();
    for (const part of [0, 600]) {
      const commands = upTo(600).map((n) => ({ publish: { channel, data: part + n } }));
      expect((await gateway.api('/v1/batch', { body: { commands } })).status).toBe(200);
    }
    const client = await connect();
    const { messages } = await read(client, { channel, limit: 1000 });
    expect(offsetsOf(messages)).toEqual(upTo(1200).slice(200));
  });
});

describe('other commands', () => {
  it('ping answers pong', async () => {
    const client = await connect();
    expect(await client.command('ping')).toEqual({ type: 'pong', id: 2 });
  });

  it.each([
    ['presence', { channel: 'c' }],
    ['rpc', { method: 'm', data: 1 }],
  ])('%s is known but not available: 108', async (type, fields) => {
    const client = await connect();
    expect(await client.command(type, fields)).toMatchObject(error(108, 'not_available'));
  });
});

describe('frames', () => {
  it('answers nothing to commands without id that succeed', async () => {
    const channel = fresh();
    const client = await connect();
    client.send({ type: 'subscribe', channel });
    await waitFor(async () => (await gateway.metric('weir_subscriptions')) === 1, { description: 'a subscription' });
    for (const type of ['ping', 'publish', 'history']) client.send({ type, channel, data: 1 });
    await client.waitForMessages(1);
    client.send({ type: 'unsubscribe', channel });
    const received = await settled(client);
    expect(received.map(({ type }) => type)).toEqual(['connected', 'message', 'pong']);
  });

  it('tells of a failed command without id by an error push without id', async () => {
    const client = await connect();
    client.send({ type: 'unsubscribe', channel: fresh() });
    const push = await client.waitForPush('error');
    expect(push).toMatchObject(error(113, 'not_subscribed'));
    expect(push).not.toHaveProperty('id');
  });

  it('runs a batch of 64 commands in order and answers each id once', async () => {
    const channel = fresh();
    const client = await connect();
    await client.expect('subscribe', { channel });
    const replies = await client.commands(upTo(64).map((data) => ({ type: 'publish', channel, data })));
    expect(offsetsOf(replies)).toEqual(upTo(64));
    await client.waitForMessages(64);
    expect(dataOf(client.messages())).toEqual(upTo(64));
    const ids = client.received.flatMap(({ id }) => id ?? []);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('keeps the order of publications of one connection over many frames', async () => {
    const channel = fresh();
    const [publisher, subscriber] = await Promise.all([connect(), connect()]);
    await subscriber.expect('subscribe', { channel });
    for (const data of upTo(500)) publisher.send({ type: 'publish', channel, data });
    await subscriber.waitForMessages(500);
    expect(dataOf(subscriber.messages())).toEqual(upTo(500));
    expect(offsetsOf(subscriber.messages())).toEqual(upTo(500));
  });

  it('sends messages that came together as one frame', async () => {
    const channel = fresh();
    const client = await connect();
    await client.expect('subscribe', { channel });
    const before = client.frames();
    const commands = upTo(200).map((data) => ({ publish: { channel, data } }));
    await gateway.api('/v1/batch', { body: { commands } });
    await client.waitForMessages(200);
    expect(dataOf(client.messages())).toEqual(upTo(200));
    expect(client.frames() - before).toBeLessThan(20);
  });

  it('keeps channels apart when several are dirty at once', async () => {
    const names = upTo(4).map(() => fresh());
    const client = await connect();
    await Promise.all(names.map((channel) => client.expect('subscribe', { channel })));
    const commands = upTo(100).flatMap((data) => names.map((channel) => ({ publish: { channel, data } })));
    await gateway.api('/v1/batch', { body: { commands } });
    await client.waitForMessages(400);
    for (const channel of names) {
      expect(dataOf(client.messages(channel))).toEqual(upTo(100));
      expect(offsetsOf(client.messages(channel))).toEqual(upTo(100));
    }
  });

  it('splits a burst that is larger than a frame should be, without losing or reordering anything', async () => {
    const channel = fresh();
    const client = await connect();
    await client.expect('subscribe', { channel });
    const text = 'ü'.repeat(5000);
    const commands = upTo(60).map((n) => ({ publish: { channel, data: { n, text } } }));
    await gateway.api('/v1/batch', { body: { commands } });
    const messages = await client.waitForMessages(60);
    expect(dataOf(messages)).toEqual(upTo(60).map((n) => ({ n, text })));
  });

  it('answers duplicate ids one reply each', async () => {
    const client = await connect();
    client.send([
      { type: 'ping', id: 77 },
      { type: 'ping', id: 77 },
    ]);
    const received = await settled(client);
    expect(received.filter(({ id }) => id === 77)).toEqual([
      { type: 'pong', id: 77 },
      { type: 'pong', id: 77 },
    ]);
  });

  it('takes ids from 1 to 2^31-1 and ignores fields it does not know', async () => {
    const client = await connect();
    client.send({ type: 'ping', id: 2 ** 31 - 1, future: { field: true } });
    client.send({ type: 'ping', id: 2 ** 31 });
    const received = await settled(client);
    expect(received).toContainEqual({ type: 'pong', id: 2 ** 31 - 1 });
    expect(received.find(({ type }) => type === 'error')).toMatchObject(error(107, 'bad_request'));
  });
});
