// Publications that are acknowledged only when replicas have them, with real servers whose replicas stop.
import { expect, test, vi } from 'vitest';
import { Redis } from 'ioredis';
import { BrokerUnavailableError, type Broker } from '../broker.ts';
import { startStallingProxy } from '../conformance/stalling-proxy.ts';
import { BOUNDS, WAIT, createRecorder, dataOf, range, requestFor } from '../conformance/harness.ts';
import { startRedis, type RedisProcess } from '../../loadbalancer/cluster/redis-process.ts';
import { redisCli, startRedisCluster, startRedisSentinel } from '../../loadbalancer/cluster/redis-topologies.ts';
import { PARTITION_TAGS, partitionOf, slotOfTag } from './partition.ts';
import { createRedisBroker } from './redis-broker.ts';

const HISTORY = { size: 10_000, ttlMs: 600_000 };
const SYNC_AT_ONCE = ['--repl-diskless-sync-delay', '0'];

interface Pair extends AsyncDisposable {
  readonly master: RedisProcess;
  readonly replica: RedisProcess;
}

const inStep = async ({ port }: RedisProcess): Promise<void> => {
  await vi.waitFor(async () => {
    expect(await redisCli(port, 'INFO', 'replication')).toContain('master_link_status:up');
  }, WAIT);
};

/** The replica is let go on before it is stopped, since a stopped process hears no SIGTERM. */
const startPair = async (): Promise<Pair> => {
  const master = await startRedis({ args: SYNC_AT_ONCE });
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(master.port), ...SYNC_AT_ONCE] });
  await inStep(replica);
  return {
    master,
    replica,
    async [Symbol.asyncDispose]() {
      replica.kill('SIGCONT');
      await Promise.all([master.stop(), replica.stop()]);
    },
  };
};

const startBroker = async (
  url: string,
  options: { readonly minReplicas: number; readonly node?: string; readonly publishTimeoutMs?: number },
): Promise<Broker & AsyncDisposable> => {
  const broker = createRedisBroker({ url, prefix: 'replicas', node: 'a', publishTimeoutMs: 4_000, ...options });
  await broker.start(createRecorder());
  return { ...broker, [Symbol.asyncDispose]: () => broker.close() };
};

const refusal = (work: Promise<unknown>): Promise<BrokerUnavailableError> =>
  work.then(
    (value) => expect.unreachable(`it was acknowledged: ${JSON.stringify(value)}`),
    (error: unknown) => {
      expect(error).toBeInstanceOf(BrokerUnavailableError);
      return error as BrokerUnavailableError;
    },
  );

test('a publication the replica does not have is refused although it is in the log, and so is its retry', async () => {
  await using pair = await startPair();
  await using broker = await startBroker(pair.master.url, { minReplicas: 1 });
  await using other = await startBroker(pair.master.url, { minReplicas: 1, node: 'b' });
  const first = await broker.publish(requestFor('x', 1));
  pair.replica.kill('SIGSTOP');
  const error = await refusal(broker.publish(requestFor('x', 2, { messageId: 'm' })));
  expect(error.written).toEqual({ epoch: first.epoch, offset: 2 });
  for (const node of [broker, other]) {
    const again = await refusal(node.publish(requestFor('x', 2, { messageId: 'm' })));
    expect(again.written).toEqual({ epoch: first.epoch, offset: 2 });
  }
  pair.replica.kill('SIGCONT');
  const retried = await vi.waitFor(() => other.publish(requestFor('x', 2, { messageId: 'm' })), WAIT);
  expect(retried).toEqual({ epoch: first.epoch, offset: 2, duplicate: true });
  expect(await broker.publish(requestFor('x', 3))).toMatchObject({ offset: 3 });
});

test('a retry writes, since newer servers wait for the last write of the connection only', async () => {
  await using pair = await startPair();
  await using broker = await startBroker(pair.master.url, { minReplicas: 1 });
  const written = async (): Promise<number> =>
    Number(/cmdstat_pexpire:calls=(\d+)/.exec(await redisCli(pair.master.port, 'INFO', 'commandstats'))?.[1] ?? 0);
  await broker.publish(requestFor('x', 1, { messageId: 'm' }));
  const before = await written();
  expect(await broker.publish(requestFor('x', 1, { messageId: 'm' }))).toMatchObject({ offset: 1, duplicate: true });
  expect(await written()).toBe(before + 1);
});

test('one wait covers all calls of a group, and no answer overtakes it', async () => {
  await using pair = await startPair();
  await using broker = await startBroker(pair.master.url, { minReplicas: 1 });
  const master = new Redis(pair.master.url);
  const waits = async (): Promise<number> =>
    Number(/cmdstat_wait:calls=(\d+)/.exec(await master.info('commandstats'))?.[1] ?? 0);
  const publishHundred = () => Promise.all(range(1, 100).map((n) => broker.publish(requestFor(`c${n % 10}`, n))));
  const results = await publishHundred();
  expect(new Set(results.map(({ offset }) => offset))).toEqual(new Set(range(1, 10)));
  expect(await waits()).toBe(1);
  pair.replica.kill('SIGSTOP');
  await Promise.all(range(1, 20).map((n) => refusal(broker.publish(requestFor('x', n)))));
  master.disconnect();
});

test('a server without any replica refuses, and lists and leases go on meanwhile', async () => {
  await using redis = await startRedis();
  await using broker = await startBroker(redis.url, { minReplicas: 1, publishTimeoutMs: 30_000 });
  const order: string[] = [];
  const publishing = refusal(broker.publish(requestFor('x', 1))).then(() => order.push('refused'));
  await broker.control.announce(null);
  const nodes = await broker.control.nodes();
  order.push('announced');
  await publishing;
  expect(nodes.map(({ node }) => node)).toEqual(['a']);
  expect(order).toEqual(['announced', 'refused']);
  expect(broker.health()).toEqual({ state: 'ready' });
});

/** Publishes before and while the replica is cut off, kills the master, and answers what was acknowledged and what is left. */
const loseMaster = async (minReplicas: number): Promise<{ acknowledged: number[]; left: unknown[] }> => {
  await using master = await startRedis({ args: SYNC_AT_ONCE });
  await using replication = await startStallingProxy(master.port);
  const args = ['--replicaof', '127.0.0.1', String(replication.port), ...SYNC_AT_ONCE];
  await using replica = await startRedis({ args });
  await inStep(replica);
  const acknowledged: number[] = [];
  {
    await using broker = await startBroker(master.url, { minReplicas });
    const publish = async (data: number): Promise<void> => {
      const request = requestFor('x', data, { history: HISTORY, messageId: `m${data}` });
      await broker.publish(request).then(
        () => acknowledged.push(data),
        (error: unknown) => expect(error).toBeInstanceOf(BrokerUnavailableError),
      );
    };
    for (const data of range(1, 50)) await publish(data);
    // A barrier for the run that does not wait for replicas: what went before is there.
    await redisCli(master.port, 'WAIT', '1', '10000');
    replication.stall();
    await Promise.all(range(51, 80).map(publish));
    master.kill('SIGKILL');
    await master.exited;
  }
  await redisCli(replica.port, 'REPLICAOF', 'NO', 'ONE');
  // A node that knows nothing of before: what it reads the replica had.
  await using survivor = await startBroker(replica.url, { minReplicas: 0, node: 'b' });
  const start = { kind: 'earliest' } as const;
  const bounds = { ...BOUNDS, ...HISTORY };
  const page = await survivor.history.read({ channel: 'x', start, limit: 1_000, reverse: false, bounds });
  return { acknowledged, left: page.publications.map(dataOf) };
};

test('nothing that was acknowledged is lost when the master dies and a replica that missed the tail is promoted', async () => {
  expect(await loseMaster(1)).toEqual({ acknowledged: range(1, 50), left: range(1, 50) });
});

test('without waiting for replicas the same failover loses what they had not got yet', async () => {
  expect(await loseMaster(0)).toEqual({ acknowledged: range(1, 80), left: range(1, 50) });
});

test('Sentinel: publishes are refused while the replica stands still, and go on with it', async () => {
  await using deployment = await startRedisSentinel();
  const replica = deployment.servers[1]!;
  await using broker = await startBroker(deployment.url, { minReplicas: 1 });
  const first = await broker.publish(requestFor('x', 1));
  replica.kill('SIGSTOP');
  try {
    await refusal(broker.publish(requestFor('x', 2, { messageId: 'm' })));
  } finally {
    replica.kill('SIGCONT');
  }
  const retried = await vi.waitFor(() => broker.publish(requestFor('x', 2, { messageId: 'm' })), WAIT);
  expect(retried).toEqual({ epoch: first.epoch, offset: 2, duplicate: true });
});

test('Cluster: a shard without its replica refuses, and publications to the others are acknowledged', async () => {
  await using deployment = await startRedisCluster({ replicas: true });
  await using broker = await startBroker(deployment.url, { minReplicas: 1 });
  const masterOf = (channel: string): number =>
    Math.min(2, Math.floor(slotOfTag(PARTITION_TAGS[partitionOf(channel)]!) / Math.ceil(16_384 / 3)));
  const channels = range(1, 30).map((n) => `c${n}`);
  const positions = await Promise.all(channels.map((channel) => broker.publish(requestFor(channel, 1))));
  expect(positions.map(({ offset }) => offset)).toEqual(channels.map(() => 1));
  const replica = deployment.servers[3]!;
  replica.kill('SIGSTOP');
  try {
    await Promise.all(
      channels.map(async (channel) => {
        const publishing = broker.publish(requestFor(channel, 2));
        if (masterOf(channel) === 0) await refusal(publishing);
        else expect(await publishing).toMatchObject({ offset: 2 });
      }),
    );
  } finally {
    replica.kill('SIGCONT');
  }
});
