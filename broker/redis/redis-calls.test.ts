// What the Redis driver writes: calls it shares, keys it leaves behind, and other processes beside it.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Redis } from 'ioredis';
import type { Broker } from '../broker.ts';
import { WAIT, createRecorder, range, requestFor, type Recorder } from '../conformance/harness.ts';
import { startFaultProxy } from '../../tests/support/index.ts';
import { startRedis, type RedisProcess } from '../../loadbalancer/cluster/redis-process.ts';
import { PARTITION_TAGS, partitionOf, slotOfTag } from './partition.ts';
import { createRedisBroker } from './redis-broker.ts';

let redis: RedisProcess;
let admin: Redis;
let prefix: string;
let prefixes = 0;

beforeAll(async () => {
  redis = await startRedis();
  admin = new Redis(redis.url);
});

afterAll(async () => {
  admin.disconnect();
  await redis.stop();
});

const FULL_CALLS = 12;
/** Keeps whatever these tests publish. */
const history = { size: 10_000, ttlMs: 60_000 };

const start = async (): Promise<{ broker: Broker; events: Recorder } & AsyncDisposable> => {
  prefix = `calls-${(prefixes += 1)}`;
  const broker = createRedisBroker({ url: redis.url, prefix, node: 'a', publishTimeoutMs: 30_000 });
  const events = createRecorder();
  await broker.start(events);
  return { broker, events, [Symbol.asyncDispose]: () => broker.close() };
};

const callsOf = async (command: string): Promise<number> => {
  const stats = await admin.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
};

const keyOf = (kind: string, channel: string): string =>
  `${prefix}:{${PARTITION_TAGS[partitionOf(channel)]!}}:${kind}:${channel}`;

const publisherProcess = (node: string, channel: string, count: number, ...more: string[]): ChildProcess =>
  spawn(
    process.execPath,
    [
      ...['--import', 'tsx', fileURLToPath(new URL('../conformance/redis-process-publisher.ts', import.meta.url))],
      ...[redis.url, prefix, node, channel, String(count), ...more],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );

const firstLine = async (child: ChildProcess): Promise<string> => {
  const lines = createInterface({ input: child.stdout! });
  const [line] = (await once(lines, 'line')) as [string];
  return line;
};

test('publications of one tick share a script call, over all channels', async () => {
  await using node = await start();
  await node.broker.publish(requestFor('warm', 0));
  const before = await callsOf('evalsha');
  await Promise.all(range(0, 199).map((n) => node.broker.publish(requestFor(`c:${n % 40}`, n))));
  expect((await callsOf('evalsha')) - before).toBe(1);
});

test('a call is bounded in publications and bytes', async () => {
  await using node = await start();
  await node.broker.publish(requestFor('warm', 0));
  const before = await callsOf('evalsha');
  await Promise.all(range(1, 600).map((n) => node.broker.publish(requestFor('c', n))));
  expect((await callsOf('evalsha')) - before).toBe(3);
  const large = 'x'.repeat(400_000);
  await Promise.all(range(1, 6).map(() => node.broker.publish(requestFor('c', large))));
  expect((await callsOf('evalsha')) - before).toBe(6);
});

test('full calls follow each other without waiting for answers', async () => {
  await using proxy = await startFaultProxy({ port: Number(new URL(redis.url).port) });
  prefix = `calls-${(prefixes += 1)}`;
  const url = `redis://127.0.0.1:${proxy.port}`;
  const broker = createRedisBroker({ url, prefix, node: 'a', publishTimeoutMs: 30_000 });
  await broker.start(createRecorder());
  await broker.publish(requestFor('c', 0, { history }));
  // What Redis has when the first answer arrives was sent before it, and nothing more gets there for another second.
  proxy.delay(1_000);
  const answers = range(1, FULL_CALLS * 256).map((n) => broker.publish(requestFor('c', n, { history })));
  await Promise.race(answers);
  expect(await admin.xlen(keyOf('s', 'c'))).toBe(FULL_CALLS * 256 + 1);
  proxy.heal();
  expect((await Promise.all(answers)).map(({ offset }) => offset)).toEqual(range(2, FULL_CALLS * 256 + 1));
  await broker.close();
}, 60_000);

test('a full call does not wait for the end of the turn', async () => {
  await using node = await start();
  await node.broker.publish(requestFor('c', 0, { history }));
  const answers = range(1, 300).map((n) => node.broker.publish(requestFor('c', n, { history })));
  // The loop of this process does not turn here.
  const length = (): string =>
    execFileSync(process.env['REDIS_CLI'] ?? 'redis-cli', ['-u', redis.url, 'XLEN', keyOf('s', 'c')], {
      encoding: 'utf8',
    }).trim();
  const giveUpMs = performance.now() + 10_000;
  while (length() !== '257' && performance.now() < giveUpMs);
  expect(length()).toBe('257');
  await Promise.all(answers);
});

test('publications of one channel and call are one message to subscribers', async () => {
  await using node = await start();
  await node.broker.subscribe('c');
  const before = await callsOf('publish');
  await Promise.all(range(1, 100).map((n) => node.broker.publish(requestFor('c', n))));
  await vi.waitFor(() => expect(node.events.offsets('c')).toEqual(range(1, 100)), WAIT);
  expect((await callsOf('publish')) - before).toBe(1);
  expect(node.events.runs).toHaveLength(1);
});

test('numbering outlives the history by days, history its time to live only a little, message ids live five minutes', async () => {
  await using node = await start();
  const history = { size: 10, ttlMs: 40_000 };
  await node.broker.publish(requestFor('c', 1, { history, messageId: 'm' }));
  const [meta, stream, seen] = await Promise.all(
    ['m', 's', 'i'].map((kind) => admin.pttl(keyOf(kind, 'c') + (kind === 'i' ? ':m' : ''))),
  );
  expect(meta).toBeGreaterThan(2 * 24 * 3_600_000);
  expect(stream).toBeGreaterThan(39_000);
  expect(stream).toBeLessThanOrEqual(50_000);
  expect(seen).toBeGreaterThan(299_000 - 10_000);
  expect(seen).toBeLessThanOrEqual(300_000);
});

test('a numbering that only reads have asked for lives an hour, a publication gives it days, and no read changes either', async () => {
  await using node = await start();
  const hourMs = 3_600_000;
  const read = (channel: string): Promise<unknown> =>
    node.broker.history.read({
      channel,
      start: { kind: 'earliest' },
      limit: 1,
      reverse: false,
      bounds: { size: 10, ttlMs: 60_000 },
    });
  await node.broker.history.positions(['asked', 'asked']);
  await read('read');
  for (const channel of ['asked', 'read']) {
    const lifeMs = await admin.pttl(keyOf('m', channel));
    expect(lifeMs).toBeGreaterThan(hourMs - 60_000);
    expect(lifeMs).toBeLessThanOrEqual(hourMs);
    await admin.pexpire(keyOf('m', channel), hourMs / 2);
    await read(channel);
    await node.broker.history.positions([channel]);
    expect(await admin.pttl(keyOf('m', channel))).toBeLessThanOrEqual(hourMs / 2);
    expect(await admin.pttl(keyOf('m', channel))).toBeGreaterThan(hourMs / 2 - 60_000);

    await node.broker.publish(requestFor(channel, 1));
    expect(await admin.pttl(keyOf('m', channel))).toBeGreaterThan(48 * hourMs);
    await admin.pexpire(keyOf('m', channel), 30 * hourMs);
    await read(channel);
    await node.broker.history.positions([channel]);
    expect(await admin.pttl(keyOf('m', channel))).toBeGreaterThan(29 * hourMs);
    expect(await admin.pttl(keyOf('m', channel))).toBeLessThanOrEqual(30 * hourMs);
  }
});

test('the expiries of a channel in use are renewed only when its stream would end before the newest publication', async () => {
  await using node = await start();
  const history = { size: 10, ttlMs: 40_000 };
  const daysMs = 3 * 24 * 3_600_000;
  const publish = (): Promise<unknown> => node.broker.publish(requestFor('c', 1, { history }));
  await publish();
  expect(await admin.pttl(keyOf('m', 'c'))).toBeGreaterThan(daysMs + 49_000 - 10_000);
  expect(await admin.pttl(keyOf('m', 'c'))).toBeLessThanOrEqual(daysMs + 50_000);
  await admin.pexpire(keyOf('s', 'c'), 30_000);
  await admin.pexpire(keyOf('m', 'c'), daysMs - 1);
  await publish();
  expect(await admin.pttl(keyOf('s', 'c'))).toBeLessThanOrEqual(30_000);
  expect(await admin.pttl(keyOf('m', 'c'))).toBeLessThan(daysMs);
  const [offset, , epoch] = (await admin.get(keyOf('m', 'c')))!.split(' ');
  await admin.set(keyOf('m', 'c'), `${offset!} ${Date.now() + 39_000} ${epoch!}`);
  await publish();
  expect(await admin.pttl(keyOf('s', 'c'))).toBeGreaterThan(30_000);
  expect(await admin.pttl(keyOf('m', 'c'))).toBeGreaterThan(daysMs);
});

test('without a history every publication renews the numbering', async () => {
  await using node = await start();
  const daysMs = 3 * 24 * 3_600_000;
  for (let n = 1; n <= 2; n += 1) {
    await node.broker.publish(requestFor('c', n, { history: { size: 0, ttlMs: 40_000 } }));
    expect(await admin.pttl(keyOf('m', 'c'))).toBeGreaterThan(daysMs - 10_000);
    expect(await admin.pttl(keyOf('m', 'c'))).toBeLessThanOrEqual(daysMs);
    await admin.pexpire(keyOf('m', 'c'), 30_000);
  }
});

test('streams are trimmed close to their size', async () => {
  await using node = await start();
  const history = { size: 100, ttlMs: 60_000 };
  for (const round of range(1, 20)) {
    await Promise.all(range(1, 100).map((n) => node.broker.publish(requestFor('c', round * n, { history }))));
  }
  expect(await admin.xlen(keyOf('s', 'c'))).toBeLessThan(100 + 256);
});

test('positions beyond 2^32 and up to 2^53 are exact', async () => {
  const server = /master_replid:(\w+)/.exec(await admin.info('replication'))?.[1] ?? '';
  await using node = await start();
  for (const offset of [4_294_967_296, 99_999_999_999_999, Number.MAX_SAFE_INTEGER - 10]) {
    const channel = `far:${offset}`;
    await node.broker.subscribe(channel);
    await admin.set(keyOf('m', channel), `${offset} 0 old ${server}`);
    const results = await Promise.all([1, 2].map((n) => node.broker.publish(requestFor(channel, n))));
    expect(results.map((result) => result.offset)).toEqual([offset + 1, offset + 2]);
    await vi.waitFor(() => expect(node.events.offsets(channel)).toEqual([offset + 1, offset + 2]), WAIT);
    const bounds = { size: 10, ttlMs: 60_000 };
    const page = await node.broker.history.read({
      channel,
      start: { kind: 'after', offset },
      limit: 9,
      reverse: false,
      bounds,
    });
    expect(page.publications.map((publication) => publication.offset)).toEqual([offset + 1, offset + 2]);
  }
});

test('all keys of a channel carry the tag of its partition, whose slot is in the band', async () => {
  await using node = await start();
  await node.broker.publish(requestFor('room:1', 1, { messageId: 'm' }));
  const keys = await admin.keys(`${prefix}:*`);
  const tag = PARTITION_TAGS[partitionOf('room:1')]!;
  expect(keys.sort()).toEqual([
    `${prefix}:{${tag}}:i:room:1:m`,
    `${prefix}:{${tag}}:m:room:1`,
    `${prefix}:{${tag}}:s:room:1`,
  ]);
  await using cluster = await startRedis({ cluster: true });
  const client = new Redis(cluster.url, { enableReadyCheck: false });
  for (const each of [tag, ...PARTITION_TAGS.slice(0, 16)]) {
    expect(await client.cluster('KEYSLOT', `${prefix}:{${each}}:m:x`)).toBe(slotOfTag(each));
  }
  client.disconnect();
});

test('publishers in several processes get every offset once, and all see one order', async () => {
  await using node = await start();
  await node.broker.subscribe('shared');
  const children = ['p1', 'p2'].map((name) => publisherProcess(name, 'shared', 400));
  const own = Promise.all(range(1, 400).map((n) => node.broker.publish(requestFor('shared', n))));
  const exits = children.map((child) => once(child, 'exit'));
  const printed = await Promise.all(children.map(firstLine));
  const positions = printed.flatMap((line) => JSON.parse(line) as [string, number][]);
  for (const { epoch, offset } of await own) positions.push([epoch, offset]);
  expect(new Set(positions.map(([epoch]) => epoch)).size).toBe(1);
  expect(positions.map(([, offset]) => offset).sort((x, y) => x - y)).toEqual(range(1, 1_200));
  await vi.waitFor(() => expect(node.events.offsets('shared')).toEqual(range(1, 1_200)), WAIT);
  for (const exit of exits) expect(await exit).toEqual([0, null]);
}, 60_000);

test('a node killed by kill -9 is missing from answers at first and gone when its lease ends', async () => {
  await using node = await start();
  node.broker.control.handle('ping', () => 'pong');
  await node.broker.control.announce(null);
  const child = publisherProcess('doomed', 'x', 20, 'stay');
  await firstLine(child);
  await vi.waitFor(async () => {
    // On a busy machine the child starts more slowly than a lease lasts.
    await node.broker.control.announce(null);
    expect((await node.broker.control.nodes()).map((record) => record.node)).toEqual(['a', 'doomed']);
  }, WAIT);
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
  const { answers, missing } = await node.broker.control.request('ping', null, 100);
  expect(answers).toEqual([{ node: 'a', answer: 'pong' }]);
  expect(['', 'doomed']).toContain(missing.join());
  await vi.waitFor(async () => {
    await node.broker.control.announce(null);
    expect((await node.broker.control.nodes()).map((record) => record.node)).toEqual(['a']);
  }, WAIT);
}, 60_000);

test('a node that closes does not end the lease of a successor with its name', async () => {
  await using old = await start();
  await old.broker.control.announce('old');
  const successor = createRedisBroker({ url: redis.url, prefix, node: 'a' });
  await successor.start(createRecorder());
  await successor.control.announce('new');
  await old.broker.close();
  expect(await successor.control.nodes()).toMatchObject([{ node: 'a', info: 'new' }]);
  await successor.close();
});
