// What the Redis driver does when the server, or the way to it, fails.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Redis } from 'ioredis';
import { BrokerUnavailableError, type Broker } from '../broker.ts';
import { WAIT, createRecorder, range, requestFor, type Recorder } from '../conformance/harness.ts';
import { startStallingProxy } from '../conformance/stalling-proxy.ts';
import { freePort } from '../../loadbalancer/cluster/free-port.ts';
import { startRedis, type RedisProcess } from '../../loadbalancer/cluster/redis-process.ts';
import { createRedisBroker, type RedisBrokerOptions } from './redis-broker.ts';

interface Started extends AsyncDisposable {
  readonly broker: Broker;
  readonly events: Recorder;
}

let prefixes = 0;

const start = async (url: string, options: Partial<RedisBrokerOptions> = {}): Promise<Started> => {
  const broker = createRedisBroker({
    url,
    prefix: `faults-${(prefixes += 1)}`,
    node: 'a',
    publishTimeoutMs: 30_000,
    ...options,
  });
  const events = createRecorder();
  await broker.start(events);
  return { broker, events, [Symbol.asyncDispose]: () => broker.close() };
};

describe('a shared server', () => {
  let redis: RedisProcess;
  let admin: Redis;

  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
  });

  afterAll(async () => {
    admin.disconnect();
    await redis.stop();
  });

  test('a killed subscriber connection is told once, restored, and delivers again on every channel', async () => {
    await using node = await start(redis.url);
    const channels = range(1, 1_500).map((n) => `c:${n}`);
    await Promise.all(channels.map((channel) => node.broker.subscribe(channel)));
    await node.broker.unsubscribe('c:7');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await vi.waitFor(() => expect(node.events.path).toEqual(['interrupted', 'restored']), WAIT);
    await Promise.all(channels.map((channel) => node.broker.publish(requestFor(channel, 1))));
    await vi.waitFor(() => expect(node.events.runs).toHaveLength(1_499), WAIT);
    expect(node.events.offsets('c:7')).toEqual([]);
    expect(node.events.path).toEqual(['interrupted', 'restored']);
    expect(node.events.health.map((health) => health.state)).toEqual(['ready', 'degraded', 'ready']);
    expect(node.events.health[1]).toMatchObject({ affected: 'subscriber' });
  });

  test('a subscriber connection that is renewed on request is told as an interruption, and delivers again', async () => {
    await using node = await start(redis.url);
    await node.broker.subscribe('x');
    node.broker.renewSubscriber('x', 'deaf');
    expect(node.broker.health()).toEqual({ state: 'degraded', affected: 'subscriber', reason: 'deaf' });
    await vi.waitFor(() => expect(node.events.path).toEqual(['interrupted', 'restored']), WAIT);
    await node.broker.publish(requestFor('x', 1));
    await vi.waitFor(() => expect(node.events.offsets('x')).toEqual([1]), WAIT);
  });

  test('while the subscriber is away a new channel is refused at once and a known one stays subscribed', async () => {
    await using node = await start(redis.url);
    await node.broker.subscribe('known');
    const attempts: Promise<unknown>[] = [];
    node.events.onInterrupted = () => {
      attempts.push(node.broker.subscribe('new').catch((error: unknown) => error));
      attempts.push(node.broker.subscribe('known').catch((error: unknown) => error));
    };
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await vi.waitFor(() => expect(node.events.path).toEqual(['restored']), WAIT);
    const [fresh, known] = await Promise.all(attempts);
    expect(fresh).toBeInstanceOf(BrokerUnavailableError);
    expect(known).toBeUndefined();
    await node.broker.publish(requestFor('new', 1));
    await node.broker.publish(requestFor('known', 1));
    await vi.waitFor(() => expect(node.events.offsets('known')).toEqual([1]), WAIT);
    expect(node.events.offsets('new')).toEqual([]);
  });

  test('a server that forgot the script gets it again, and order is kept', async () => {
    await using node = await start(redis.url);
    await node.broker.subscribe('x');
    await node.broker.publish(requestFor('x', 0));
    await admin.script('FLUSH');
    const results = await Promise.all(range(1, 600).map((n) => node.broker.publish(requestFor('x', n))));
    expect(results.map((result) => result.offset)).toEqual(range(2, 601));
    await admin.script('FLUSH');
    expect(await node.broker.history.positions(['x'])).toMatchObject([{ offset: 601 }]);
  });

  test('a wiped server starts new epochs, and offsets of the old ones are not continued', async () => {
    await using node = await start(redis.url);
    const before = await Promise.all([1, 2].map((n) => node.broker.publish(requestFor('x', n))));
    await admin.flushall();
    const after = await node.broker.publish(requestFor('x', 3));
    expect(after.offset).toBe(1);
    expect(after.epoch).not.toBe(before[0]!.epoch);
  });

  test('a numbering that was lost while its stream survived starts anew without the old entries', async () => {
    await using node = await start(redis.url);
    await node.broker.publish(requestFor('x', 'old'));
    await node.broker.publish(requestFor('x', 'old'));
    const keys = await admin.keys(`faults-${prefixes}:*:m:x`);
    await admin.del(keys);
    const fresh = await node.broker.publish(requestFor('x', 'new'));
    expect(fresh.offset).toBe(1);
    const bounds = { size: 100, ttlMs: 60_000 };
    const page = await node.broker.history.read({
      channel: 'x',
      start: { kind: 'earliest' },
      limit: 10,
      reverse: false,
      bounds,
    });
    expect(page.publications.map((publication) => publication.offset)).toEqual([1]);
  });

  test('one channel that cannot be written fails alone', async () => {
    await using node = await start(redis.url);
    await node.broker.publish(requestFor('bad', 1));
    const [stream] = await admin.keys(`faults-${prefixes}:*:s:bad`);
    await admin.del(stream!);
    await admin.set(stream!, 'not a stream');
    const outcomes = await Promise.allSettled(
      ['good', 'bad', 'fine'].map((channel) => node.broker.publish(requestFor(channel, 1))),
    );
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(node.events.errors.map(({ stage }) => stage)).toEqual(['redis.publish']);
  });

  test('a foreign message on a topic is reported and skipped', async () => {
    await using node = await start(redis.url);
    await node.broker.subscribe('x');
    const [topic] = (await admin.pubsub('CHANNELS', `faults-${prefixes}:*:c:x`)) as string[];
    await admin.publish(topic!, 'hello');
    await admin.publish(topic!, '');
    await node.broker.publish(requestFor('x', 1));
    await vi.waitFor(() => expect(node.events.offsets('x')).toEqual([1]), WAIT);
    expect(node.events.errors.map(({ stage }) => stage)).toEqual(['redis.deliver', 'redis.deliver']);
  });
});

describe('a server that comes and goes', () => {
  test('a server that became a replica refuses publications, and takes them again as a primary', async () => {
    await using redis = await startRedis();
    await using node = await start(redis.url);
    const admin = new Redis(redis.url);
    await admin.call('REPLICAOF', '127.0.0.1', String(await freePort()));
    await expect(node.broker.publish(requestFor('x', 1))).rejects.toThrow(BrokerUnavailableError);
    // The connection may lead to another server next time.
    expect(node.broker.health()).toMatchObject({ state: 'degraded', affected: 'publisher' });
    await admin.call('REPLICAOF', 'NO', 'ONE');
    await vi.waitFor(
      async () => expect(await node.broker.publish(requestFor('x', 2))).toMatchObject({ offset: 1 }),
      WAIT,
    );
    admin.disconnect();
  });

  test('publishes fail at once while it is away, and everything works again when it is back', async () => {
    const port = await freePort();
    const first = await startRedis({ port });
    await using node = await start(first.url);
    await node.broker.subscribe('x');
    const { epoch } = await node.broker.publish(requestFor('x', 1));
    await first.stop();
    await vi.waitFor(() => expect(node.broker.health()).toMatchObject({ state: 'degraded', affected: 'both' }), WAIT);
    const calls = [
      node.broker.publish(requestFor('x', 2)),
      node.broker.history.positions(['x']),
      node.broker.control.announce(null),
    ];
    // At once means: before the event loop turns.
    const turn = new Promise((resolve) => setImmediate(() => resolve('late')));
    for (const call of calls) {
      const outcome = await Promise.race([call.catch((error: unknown) => error), turn]);
      expect(outcome).toBeInstanceOf(BrokerUnavailableError);
    }

    await using second = await startRedis({ port });
    expect(second.url).toBe(first.url);
    await vi.waitFor(() => expect(node.broker.health()).toEqual({ state: 'ready' }), WAIT);
    await vi.waitFor(() => expect(node.events.path).toEqual(['interrupted', 'restored']), WAIT);
    const after = await node.broker.publish(requestFor('x', 3));
    expect(after).toMatchObject({ offset: 1, duplicate: false });
    expect(after.epoch).not.toBe(epoch);
    await vi.waitFor(() => expect(node.events.offsets('x')).toEqual([1, 1]), WAIT);
    await vi.waitFor(
      async () => expect(await node.broker.history.positions(['x'])).toEqual([{ epoch: after.epoch, offset: 1 }]),
      WAIT,
    );
  });

  test('publications under way when the server dies are rejected, none hangs', async () => {
    const redis = await startRedis();
    await using node = await start(redis.url);
    const outcomes = Promise.allSettled(range(1, 2_000).map((n) => node.broker.publish(requestFor('x', n))));
    await new Promise(setImmediate);
    redis.kill('SIGKILL');
    const settled = await outcomes;
    for (const outcome of settled) {
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(BrokerUnavailableError);
    }
    await redis.exited;
  });

  test('start waits for a server that comes up late', async () => {
    const port = await freePort();
    const broker = createRedisBroker({ url: `redis://127.0.0.1:${port}`, prefix: 'late', node: 'a' });
    const events = createRecorder();
    const started = broker.start(events);
    await vi.waitFor(() => expect(events.errors.length).toBeGreaterThan(0), WAIT);
    expect(broker.health().state).toBe('degraded');
    expect(events.health).toEqual([]);
    await using redis = await startRedis({ port });
    await started;
    expect(redis.port).toBe(port);
    expect(events.health).toEqual([{ state: 'ready' }]);
    await broker.close();
  });

  test('closing while the server was never reached rejects the start', async () => {
    const broker = createRedisBroker({ url: `redis://127.0.0.1:${await freePort()}`, prefix: 'never', node: 'a' });
    const started = expect(broker.start(createRecorder())).rejects.toThrow(BrokerUnavailableError);
    await broker.close();
    await started;
  });
});

describe('a link that went dark', () => {
  test('is noticed without any traffic, ends what is under way, and comes back', async () => {
    await using redis = await startRedis();
    await using proxy = await startStallingProxy(redis.port);
    await using node = await start(`redis://127.0.0.1:${proxy.port}`, { publishTimeoutMs: 300 });
    await node.broker.subscribe('x');
    proxy.stall();
    const calls = [
      node.broker.publish(requestFor('x', 1)),
      node.broker.subscribe('new'),
      node.broker.history.positions(['x']),
    ];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome.status).toBe('rejected');
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(BrokerUnavailableError);
    }
    await vi.waitFor(() => expect(node.events.path).toEqual(['interrupted']), WAIT);
    await vi.waitFor(() => expect(node.broker.health()).toMatchObject({ state: 'degraded', affected: 'both' }), WAIT);
    const messages = node.events.errors.map(({ error, stage }) => `${stage}: ${error.message}`);
    expect(messages).toContain('redis.publish: no answer to a publish within 300 ms');
    expect(messages).toContain('redis.subscriber.silent: no answer for 2000 ms');
    proxy.heal();
    await vi.waitFor(() => expect(node.broker.health().state).toBe('ready'), WAIT);
    await vi.waitFor(() => expect(node.events.path).toEqual(['interrupted', 'restored']), WAIT);
    await node.broker.publish(requestFor('new', 2));
    await node.broker.publish(requestFor('x', 2));
    await vi.waitFor(() => expect(node.events.publications('x')).toHaveLength(1), WAIT);
    expect(node.events.offsets('new')).toEqual([]);
  });
});
