// Cursors over the wire: where a subscription starts, what it is told of what is gone, what policies leave out.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  type TemporaryDirectory,
  temporaryDirectory,
  waitFor,
  type WireObject,
  type WsClient,
} from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const CONFIG = `
namespaces:
  default: {policies: [all, ack]}
  short: {history: {size: 10, ttl: 10m}}
  long: {history: {size: 100000, ttl: 10m}}
  price: {policy: latest, policies: [latest, conflate, all]}
  cursor: {class: ephemeral}
  secret: {history_access: nobody}
`;

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  directory = await temporaryDirectory('resume');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, CONFIG);
  gateway = await startGatewayUnderTest({ WEIR_CONFIG: file });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(async () => {
  await gateway.stop();
  await directory.remove();
});

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
let names = 0;
const fresh = (namespace = ''): string => `${namespace}${namespace === '' ? '' : ':'}resume-${++names}`;

/** Publishes `count` messages by batches and returns the last position. */
const publish = async (channel: string, count: number, text = ''): Promise<{ epoch: string; offset: number }> => {
  let last = { epoch: '', offset: 0 };
  for (let done = 0; done < count; done += 1000) {
    const commands = upTo(Math.min(1000, count - done)).map((n) => ({
      publish: { channel, data: { n: done + n, text }, key: `k${(done + n) % 3}` },
    }));
    const { body } = await gateway.api('/v1/batch', { body: { commands } });
    last = (body as { results: { epoch: string; offset: number }[] }).results.at(-1)!;
  }
  return last;
};

const shown = (client: WsClient): string[] =>
  client.pushes
    .filter(({ type }) => type === 'message' || type === 'gap')
    .map(({ type, offset, from, to, reason }) =>
      type === 'gap' ? `${String(from)}-${String(to)} ${String(reason)}` : String(offset),
    );
const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index));
const got = (client: WsClient, last: string): Promise<unknown> =>
  waitFor(() => shown(client).at(-1) === last, { description: () => `${last}, got ${shown(client).slice(-3).join()}` });

describe('subscribe with since', () => {
  it('continues after a position, and goes on live without a seam', async () => {
    const channel = fresh();
    const { epoch } = await publish(channel, 200);
    const client = await gateway.connect();
    const reply = await client.expect('subscribe', { channel, since: { epoch, offset: 50 } });
    expect(reply).toMatchObject({ epoch, offset: 200, recovered: true, policy: 'all' });
    await publish(channel, 100);
    await got(client, '300');
    expect(shown(client)).toEqual(range(51, 300));
    const first = client.received.findIndex(({ type }) => type === 'message');
    expect(first).toBeGreaterThan(client.received.findIndex(({ type }) => type === 'subscribed'));
  });

  it('begins at the oldest kept or at the last n', async () => {
    const channel = fresh('short');
    await publish(channel, 30);
    const client = await gateway.connect();
    await client.expect('subscribe', { channel, since: 'earliest' });
    await got(client, '30');
    expect(shown(client)).toEqual(range(21, 30));
    const other = await gateway.connect();
    await other.expect('subscribe', { channel, since: { last: 4 } });
    await got(other, '30');
    expect(shown(other)).toEqual(range(27, 30));
  });

  it('says recovered false and sends a receipt when something expired', async () => {
    const channel = fresh('short');
    const { epoch } = await publish(channel, 30);
    const client = await gateway.connect();
    const reply = await client.expect('subscribe', { channel, since: { epoch, offset: 5 } });
    expect(reply).toMatchObject({ recovered: false, offset: 30 });
    await got(client, '30');
    expect(shown(client)).toEqual(['6-20 expired', ...range(21, 30)]);
    expect(client.gaps()[0]).toEqual({ type: 'gap', channel, from: 6, to: 20, count: 15, reason: 'expired' });
  });

  it('says recovered false and where numbering goes on when the epoch is another', async () => {
    const channel = fresh();
    const { epoch } = await publish(channel, 3);
    const client = await gateway.connect();
    const reply = await client.expect('subscribe', { channel, since: { epoch: 'of-another-life', offset: 9 } });
    expect(reply).toMatchObject({ recovered: false, epoch, offset: 3 });
    await got(client, '3');
    const gap = { type: 'gap', channel, from: null, to: null, count: null, reason: 'epoch', epoch, offset: 0 };
    expect(client.gaps()).toEqual([gap]);
    expect(shown(client).slice(1)).toEqual(range(1, 3));
  });

  it('catches up with a hundred thousand messages over a socket that reads in its own time', async () => {
    const channel = fresh('long');
    await publish(channel, 100_000, 'x'.repeat(60));
    const client = await gateway.connect({ timeoutMs: 60_000 });
    await client.expect('subscribe', { channel, since: 'earliest' });
    client.pause();
    await waitFor(async () => (await gateway.metric('weir_connections_parked')) === 1, {
      description: 'the connection to be parked',
    });
    expect(await gateway.metric('weir_outbox_bytes')).toBeLessThan(256 * 1024);
    client.resume();
    const messages = await client.waitForMessages(100_000);
    expect(messages.every(({ offset }, index) => offset === index + 1)).toBe(true);
    expect(client.gaps()).toEqual([]);
  }, 90_000);
});

it('from the oldest or the last n needs the right to read history; a position does not', async () => {
  const channel = fresh('secret');
  const { epoch } = await publish(channel, 3);
  const client = await gateway.connect();
  for (const since of ['earliest', { last: 2 }]) {
    expect(await client.command('subscribe', { channel, since })).toMatchObject({ type: 'error', code: 103 });
  }
  await client.expect('subscribe', { channel, since: { epoch, offset: 1 } });
  await got(client, '3');
});

describe('impossible positions', () => {
  it.each<[string, unknown, number]>([
    ['a future offset', { epoch: 'EPOCH', offset: 4 }, 112],
    ['the largest offset', { epoch: 'EPOCH', offset: Number.MAX_SAFE_INTEGER }, 112],
    ['an offset beyond safe integers', { epoch: 'EPOCH', offset: 1e300 }, 107],
    ['a negative offset', { epoch: 'EPOCH', offset: -1 }, 107],
    ['a fraction', { epoch: 'EPOCH', offset: 1.5 }, 107],
    ['text for an offset', { epoch: 'EPOCH', offset: '1' }, 107],
    ['no offset', { epoch: 'EPOCH' }, 107],
    ['an epoch of the wrong type', { epoch: 7, offset: 1 }, 107],
    ['an epoch without end', { epoch: 'e'.repeat(65), offset: 1 }, 107],
    ['another word', 'latest', 107],
    ['a negative last', { last: -1 }, 107],
    ['null', null, 107],
  ])('%s is refused, and nothing is subscribed', async (_, since, code) => {
    const channel = fresh();
    const { epoch } = await publish(channel, 3);
    const client = await gateway.connect();
    const written = JSON.parse(JSON.stringify(since).replace('EPOCH', epoch)) as unknown;
    expect(await client.command('subscribe', { channel, since: written })).toMatchObject({ type: 'error', code });
    expect(await client.command('unsubscribe', { channel })).toMatchObject({ code: 113 });
  });

  it('a position on an ephemeral channel is 108', async () => {
    const client = await gateway.connect();
    const since = { epoch: 'e', offset: 1 };
    expect(await client.command('subscribe', { channel: 'cursor:1', since })).toMatchObject({ code: 108 });
  });
});

describe('policies', () => {
  it('latest jumps to the newest after a resume, with a receipt for what lies between', async () => {
    const channel = fresh('price');
    const { epoch } = await publish(channel, 20);
    const client = await gateway.connect();
    const reply = await client.expect('subscribe', { channel, since: { epoch, offset: 5 } });
    expect(reply).toMatchObject({ policy: 'latest', recovered: false });
    await got(client, '20');
    expect(shown(client)).toEqual(['6-19 conflated', '20']);
  });

  it('conflate brings the newest per key', async () => {
    const channel = fresh('price');
    const { epoch } = await publish(channel, 20);
    const client = await gateway.connect();
    await client.expect('subscribe', { channel, since: { epoch, offset: 5 }, policy: 'conflate' });
    await got(client, '20');
    expect(shown(client)).toEqual(['6-17 conflated', '18', '19', '20']);
  });

  it('one that the namespace does not allow is 103', async () => {
    const client = await gateway.connect();
    const refused = await client.command('subscribe', { channel: fresh('price'), policy: 'ack' });
    expect(refused).toMatchObject({ type: 'error', code: 103 });
  });

  it('ack sends a window and waits; an ack has no reply and makes room', async () => {
    const channel = fresh();
    const client = await gateway.connect();
    await client.expect('subscribe', { channel, policy: 'ack', window: 5 });
    await publish(channel, 12);
    await client.waitForMessages(5);
    client.send({ type: 'ack', channel, offset: 3 });
    await client.waitForMessages(8);
    expect(shown(client)).toEqual(range(1, 8));
    client.send({ type: 'ack', id: 77, channel, offset: 8 });
    await client.waitForMessages(12);
    await client.expect('ping');
    expect(client.received.filter(({ id }) => id === 77)).toEqual([]);
  });

  it.each<[string, (channel: string) => WireObject, number]>([
    ['an offset that was never sent', (channel) => ({ type: 'ack', channel, offset: 1 }), 107],
    ['a negative offset', (channel) => ({ type: 'ack', channel, offset: -1 }), 107],
    ['a channel that is not subscribed', () => ({ type: 'ack', channel: 'nobody', offset: 1 }), 113],
  ])('an ack of %s is an error', async (_, command, code) => {
    const channel = fresh();
    const client = await gateway.connect();
    await client.expect('subscribe', { channel, policy: 'ack' });
    const { type, ...fields } = command(channel);
    expect(await client.command(type, fields)).toMatchObject({ type: 'error', code });
  });

  it('an ack without policy ack is an error', async () => {
    const channel = fresh();
    const client = await gateway.connect();
    await client.expect('subscribe', { channel });
    expect(await client.command('ack', { channel, offset: 0 })).toMatchObject({ type: 'error', code: 107 });
  });
});
