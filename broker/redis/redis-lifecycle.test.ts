// Lifecycle events over Redis: what the contract leaves open of time, and what is kept where.
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RedisProcess, startRedis } from '../../loadbalancer/cluster/redis-process.ts';
import type { Broker } from '../broker.ts';
import { createRecorder } from '../conformance/harness.ts';
import { LIFECYCLE_LANES, type LifecycleTerms } from '../lifecycle.ts';
import { createKeySpace } from './keys.ts';
import { slotOfTag } from './partition.ts';
import { createRedisBroker } from './redis-broker.ts';

const TERMS: LifecycleTerms = { leaseMs: 5_000, graceMs: 5_000, maxEvents: 100 };
const HOUR_MS = 3_600_000;
let redis: RedisProcess;
let inspector: Redis;
let broker: Broker;

beforeAll(async () => {
  redis = await startRedis();
  inspector = new Redis(redis.url);
  broker = createRedisBroker({ url: redis.url, prefix: 'lifecycle', node: 'a' });
  await broker.start(createRecorder());
});
afterAll(async () => {
  await broker.close();
  inspector.disconnect();
  await redis[Symbol.asyncDispose]();
});

test('time in which no node reached the lane ends neither lives nor graces nor holds, and neither does a clock that jumps', async () => {
  const { lifecycle } = broker;
  const lane = 0;
  const take = (holder: string) =>
    lifecycle.take({ lane, holder, wish: { kind: 'hold', holdMs: 5_000 }, limit: 10 }, TERMS);
  await lifecycle.record(
    {
      ...{ lane, life: 'a.1', seq: 1 },
      changes: [
        { kind: 'connected', key: 'x.1', timeMs: 1, about: '' },
        { kind: 'joined', channel: 'c', timeMs: 1 },
        { kind: 'left', channel: 'c', timeMs: 1 },
      ],
    },
    TERMS,
  );
  expect((await take('a')).isHeld).toBe(true);
  const [meta] = createKeySpace('lifecycle').ofLane(lane).keys;
  for (const jumpMs of [-HOUR_MS, HOUR_MS]) {
    // As if the newest call had been then.
    await inspector.hincrby(meta!, 'at', jumpMs);
    expect(await take('b')).toMatchObject({ isHeld: false, backlog: 2, isUnfinished: false });
  }
  expect((await take('a')).events.map(({ type }) => type)).toEqual(['connected', 'occupied']);
});

test('lanes are spread over the slots as evenly as they can be, and all keys of one lie in one slot', () => {
  const lanes = Array.from({ length: LIFECYCLE_LANES }, (_, lane) => createKeySpace('p', 'slot').ofLane(lane));
  const slots = lanes.map(({ keys, nodePrefix, retiredPrefix }) => {
    const tags = [...keys, nodePrefix, retiredPrefix].map((key) => /\{(.*)\}/.exec(key)![1]!);
    expect(new Set(tags).size).toBe(1);
    return slotOfTag(tags[0]!);
  });
  const share = 16_384 / LIFECYCLE_LANES;
  expect(slots.map((slot) => Math.floor(slot / share))).toEqual(slots.map((_, lane) => lane));
});

test('a server that lost everything gives no id twice', async () => {
  const lane = 2;
  const { lifecycle } = broker;
  const idsOfVisit = async (life: string): Promise<readonly string[]> => {
    const changes = (['joined', 'left'] as const).map((kind) => ({ kind, channel: 'c', timeMs: 1 }));
    const terms = { ...TERMS, graceMs: 0 };
    await lifecycle.record({ lane, life, seq: 1, changes }, terms);
    const wish = { kind: 'hold', holdMs: 5_000 } as const;
    const { events } = await lifecycle.take({ lane, holder: 'a', wish, limit: 10 }, terms);
    expect(events.map(({ type }) => type)).toEqual(['occupied', 'vacated']);
    return events.map(({ id }) => id);
  };
  const serverMs = async (): Promise<number> => {
    const [seconds, microseconds] = await inspector.time();
    return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
  };
  const before = await idsOfVisit('a.1');
  await inspector.flushall();
  // A server that really loses everything is away for longer than the millisecond that ids tell apart.
  const lostAtMs = await serverMs();
  while ((await serverMs()) === lostAtMs);
  const after = await idsOfVisit('a.2');
  expect(new Set([...before, ...after]).size).toBe(4);
});

test('everything of a lane ends by itself when nobody asks any more', async () => {
  const lane = 1;
  const { lifecycle } = broker;
  const changes = ['c', 'd'].flatMap((channel) => [{ kind: 'joined' as const, channel, timeMs: 1 }]);
  await lifecycle.record({ lane, life: 'a.1', seq: 1, changes }, TERMS);
  await lifecycle.record({ lane, life: 'a.1', seq: 2, changes: [{ kind: 'left', channel: 'c', timeMs: 1 }] }, TERMS);
  await lifecycle.take({ lane, holder: 'a', wish: { kind: 'look' }, limit: 10 }, TERMS);
  const { keys, nodePrefix } = createKeySpace('lifecycle').ofLane(lane);
  for (const key of [...keys, `${nodePrefix}a.1`]) expect(await inspector.pttl(key), key).toBeGreaterThan(0);
  await lifecycle.retire(lane, 'a.1', TERMS);
  expect(await inspector.exists(`${nodePrefix}a.1`)).toBe(0);
});
