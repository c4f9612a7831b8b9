// How the links of the Redis driver act together: what health tells of them, and when deliveries count as restored.
import { expect, test, vi } from 'vitest';
import { Redis } from 'ioredis';
import type { Broker } from '../broker.ts';
import { WAIT, createRecorder, requestFor, type Recorder } from '../conformance/harness.ts';
import { startStallingProxy } from '../conformance/stalling-proxy.ts';
import { startRedis } from '../../loadbalancer/cluster/redis-process.ts';
import { createRedisBroker } from './redis-broker.ts';

interface Started extends AsyncDisposable {
  readonly broker: Broker;
  readonly events: Recorder;
}

const start = async (url: string): Promise<Started> => {
  // Within a test no change inside an outage lasts.
  const broker = createRedisBroker({ url, prefix: 'links', node: 'a', healthSettleMs: 600_000 });
  const events = createRecorder();
  await broker.start(events);
  return { broker, events, [Symbol.asyncDispose]: () => broker.close() };
};

/** Ids of the open connections of a link. */
const connectionsOf = async (admin: Redis, link: string): Promise<string[]> => {
  const lines = String(await admin.call('CLIENT', 'LIST')).split('\n');
  return lines.filter((line) => line.includes(` name=weir-${link} `)).map((line) => /^id=(\d+)/.exec(line)![1]!);
};

const killLink = async (admin: Redis, link: string): Promise<void> => {
  for (const id of await connectionsOf(admin, link)) await admin.call('CLIENT', 'KILL', 'ID', id);
};

/** What `positions` answered, or rejected with, when it was called inside `onRestored`. */
const positionsWhenRestored = ({ broker, events }: Started): unknown[] => {
  const outcomes: unknown[] = [];
  events.onRestored = () => {
    events.path.push('restored');
    broker.history.positions(['x']).then(
      (positions) => outcomes.push(positions),
      (error: unknown) => outcomes.push(error),
    );
  };
  return outcomes;
};

test('a history link that is down is told as an affected subscriber, and ready when it is back', async () => {
  await using redis = await startRedis();
  const admin = new Redis(redis.url);
  await using node = await start(redis.url);
  // Room for the other two links and this connection, not for a new one.
  await admin.config('SET', 'maxclients', '3');
  await killLink(admin, 'history');
  await vi.waitFor(() => expect(node.events.health).toHaveLength(2), WAIT);
  const down = { state: 'degraded', affected: 'subscriber', reason: 'connection closed' };
  expect(node.events.health[1]).toEqual(down);
  expect(node.broker.health()).toEqual(down);
  await admin.config('SET', 'maxclients', '100');
  await vi.waitFor(() => expect(node.events.health.at(-1)).toEqual({ state: 'ready' }), WAIT);
  expect(node.broker.health()).toEqual({ state: 'ready' });
  await expect(node.broker.history.positions(['x'])).resolves.toHaveLength(1);
  // Nothing could be missed meanwhile.
  expect(node.events.path).toEqual([]);
  admin.disconnect();
});

test('restored is told only when positions can be read again', async () => {
  await using redis = await startRedis();
  const admin = new Redis(redis.url);
  await using node = await start(redis.url);
  await node.broker.publish(requestFor('x', 1));
  const outcomes = positionsWhenRestored(node);
  await admin.config('SET', 'maxclients', '3');
  await killLink(admin, 'history');
  await killLink(admin, 'subscriber');
  // One place for two links: given to the subscriber.
  await vi.waitFor(async () => {
    await killLink(admin, 'history');
    await node.broker.subscribe('probe');
  }, WAIT);
  expect(node.broker.health()).toMatchObject({ state: 'degraded', affected: 'subscriber' });
  expect(node.events.path).toEqual(['interrupted']);
  await admin.config('SET', 'maxclients', '100');
  await vi.waitFor(() => expect(outcomes).toMatchObject([[{ offset: 1 }]]), WAIT);
  expect(node.events.path).toEqual(['interrupted', 'restored']);
  admin.disconnect();
});

test('restored waits for a history link that went dark and has not noticed', async () => {
  await using redis = await startRedis();
  await using proxy = await startStallingProxy(redis.port);
  const admin = new Redis(redis.url);
  await using node = await start(`redis://127.0.0.1:${proxy.port}`);
  await node.broker.publish(requestFor('x', 1));
  const outcomes = positionsWhenRestored(node);
  proxy.stall('weir-history');
  await killLink(admin, 'subscriber');
  await vi.waitFor(() => node.broker.subscribe('probe'), WAIT);
  proxy.heal();
  await vi.waitFor(() => expect(outcomes).toMatchObject([[{ offset: 1 }]]), WAIT);
  expect(node.events.path).toEqual(['interrupted', 'restored']);
  await vi.waitFor(() => expect(node.events.health.at(-1)).toEqual({ state: 'ready' }), WAIT);
  admin.disconnect();
});

test('ready follows restored', async () => {
  await using redis = await startRedis();
  const admin = new Redis(redis.url);
  await using node = await start(redis.url);
  const told: string[] = [];
  node.events.onRestored = () => told.push('restored');
  node.events.onHealth = ({ state }) => told.push(state);
  await killLink(admin, 'subscriber');
  await vi.waitFor(() => expect(told).toContain('ready'), WAIT);
  expect(told).toEqual(['degraded', 'restored', 'ready']);
  admin.disconnect();
});

test('a subscriber link lost again before restored is one interruption', async () => {
  await using redis = await startRedis();
  const admin = new Redis(redis.url);
  await using node = await start(redis.url);
  await admin.config('SET', 'maxclients', '3');
  await killLink(admin, 'history');
  for (const probe of ['once', 'twice']) {
    await killLink(admin, 'subscriber');
    await vi.waitFor(async () => {
      await killLink(admin, 'history');
      await node.broker.subscribe(probe);
    }, WAIT);
  }
  await admin.config('SET', 'maxclients', '100');
  await vi.waitFor(() => expect(node.events.path).toContain('restored'), WAIT);
  expect(node.events.path).toEqual(['interrupted', 'restored']);
  admin.disconnect();
});

test('an outage of all links is told once as degraded and once as ready', async () => {
  await using redis = await startRedis();
  const admin = new Redis(redis.url);
  await using node = await start(redis.url);
  for (const outage of [1, 2, 3]) {
    const ids = await Promise.all(['subscriber', 'history', 'commands'].map((link) => connectionsOf(admin, link)));
    const kills = admin.multi();
    for (const id of ids.flat()) kills.call('CLIENT', 'KILL', 'ID', id);
    await kills.exec();
    await vi.waitFor(() => expect(node.events.path).toHaveLength(2 * outage), WAIT);
    await vi.waitFor(() => expect(node.broker.health()).toEqual({ state: 'ready' }), WAIT);
  }
  const states = node.events.health.map(({ state }) => state);
  expect(states).toEqual(['ready', 'degraded', 'ready', 'degraded', 'ready', 'degraded', 'ready']);
  admin.disconnect();
});
