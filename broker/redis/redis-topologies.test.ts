// What the Redis driver does when masters fail over and slots move: nothing the survivors hold is missed in silence.
import { describe, expect, test, vi } from 'vitest';
import { BrokerUnavailableError, type Broker } from '../broker.ts';
import { BOUNDS, WAIT, createRecorder, dataOf, requestFor, type Recorder } from '../conformance/harness.ts';
import {
  redisCli,
  startRedisCluster,
  startRedisSentinel,
  type RedisDeployment,
} from '../../loadbalancer/cluster/redis-topologies.ts';
import { PARTITION_TAGS, partitionOf, slotOfTag } from './partition.ts';
import { createRedisBroker } from './redis-broker.ts';

const HISTORY = { size: 10_000, ttlMs: 600_000 };

interface Load extends AsyncDisposable {
  readonly broker: Broker;
  readonly events: Recorder;
  /** Resolves once several publications begun from now on were acknowledged. */
  someMore(): Promise<void>;
  /** Of everything acknowledged. */
  readonly epochs: ReadonlySet<string>;
  /** Ends publishing, and checks what the servers hold against what arrived or was found by comparing positions. */
  check(): Promise<void>;
}

/** A subscriber, and a publisher on a node of its own that goes on whatever happens. */
const startLoad = async (deployment: RedisDeployment, channel: string): Promise<Load> => {
  const create = (node: string): Broker =>
    createRedisBroker({ url: deployment.url, prefix: 'failover', node, publishTimeoutMs: 1_000 });
  const [broker, publisher] = [create('a'), create('b')];
  const events = createRecorder();
  const compared: { readonly epoch: string; readonly offset: number }[] = [];
  events.onRestored = () => {
    events.path.push('restored');
    void broker.history.positions([channel]).then(
      ([head]) => compared.push(head!),
      () => undefined,
    );
  };
  await Promise.all([broker.start(events), publisher.start(createRecorder())]);
  await broker.subscribe(channel);
  const stop = new AbortController();
  let acknowledged = 0;
  const epochs = new Set<string>();
  const positions = new Map<string, unknown>();
  const foreign: unknown[] = [];
  // As a node renews its lease.
  const announce = (): void => {
    for (const each of [broker, publisher]) each.control.announce(null).catch(() => undefined);
  };
  announce();
  const announcing = setInterval(announce, 500);
  const publishing = (async () => {
    for (let n = 0; !stop.signal.aborted; n += 1) {
      try {
        const { epoch, offset } = await publisher.publish(requestFor(channel, n, { history: HISTORY }));
        epochs.add(epoch);
        positions.set(`${epoch} ${offset}`, n);
        acknowledged += 1;
      } catch (error) {
        if (!(error instanceof BrokerUnavailableError)) foreign.push(error);
      }
      // The pace of the load; nothing is waited for.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  return {
    broker,
    events,
    epochs,
    async someMore() {
      const before = acknowledged;
      await vi.waitFor(() => expect(acknowledged).toBeGreaterThan(before + 5), WAIT);
    },
    async check() {
      stop.abort();
      await publishing;
      // Each node finds the new master in its own time.
      for (const node of [broker, publisher]) {
        await vi.waitFor(() => expect(node.health()).toEqual({ state: 'ready' }), WAIT);
      }
      await publisher.publish(requestFor(channel, 'last', { history: HISTORY }));
      const [head] = await broker.history.positions([channel]);
      await vi.waitFor(() => expect(events.offsets(channel).at(-1)).toBe(head!.offset), WAIT);
      const page = await broker.history.read({
        channel,
        start: { kind: 'earliest' },
        limit: 10_000,
        reverse: false,
        bounds: { ...BOUNDS, ...HISTORY },
      });
      const arrived = new Set(events.runs.flatMap((run) => run.publications.map((p) => `${run.epoch} ${p.offset}`)));
      const missed = page.publications.filter(({ offset }) => !arrived.has(`${head!.epoch} ${offset}`));
      const found = Math.max(0, ...compared.filter(({ epoch }) => epoch === head!.epoch).map(({ offset }) => offset));
      expect(missed.filter(({ offset }) => offset > found)).toEqual([]);
      expect(page.publications.length).toBeGreaterThan(5);
      for (const publication of page.publications) {
        const position = `${head!.epoch} ${publication.offset}`;
        if (positions.has(position)) expect(dataOf(publication), position).toBe(positions.get(position));
      }
      expect(foreign).toEqual([]);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      clearInterval(announcing);
      await publishing;
      await Promise.all([broker.close(), publisher.close()]);
    },
  };
};

const expectRecovery = async ({ events, broker, someMore }: Load): Promise<void> => {
  await vi.waitFor(() => expect(events.path.slice(0, 2)).toEqual(['interrupted', 'restored']), WAIT);
  await vi.waitFor(() => expect(broker.health()).toEqual({ state: 'ready' }), WAIT);
  await someMore();
};

describe('Sentinel', () => {
  test('all links follow a forced failover', async () => {
    await using deployment = await startRedisSentinel();
    await using load = await startLoad(deployment, 'x');
    await load.someMore();
    await redisCli(deployment.sentinels[0]!.port, 'SENTINEL', 'FAILOVER', 'main');
    await expectRecovery(load);
    expect(await redisCli(deployment.servers[1]!.port, 'ROLE')).toMatch(/^master/);
    await load.check();
    expect(load.epochs.size).toBe(1);
  });

  test('all links follow when the master is killed', async () => {
    await using deployment = await startRedisSentinel();
    await using load = await startLoad(deployment, 'x');
    await load.someMore();
    deployment.servers[0]!.kill('SIGKILL');
    await expectRecovery(load);
    await load.check();
    expect(load.epochs.size).toBe(1);
  });
});

test('Sentinel: what only its publisher knew survives the failover to another server', async () => {
  await using deployment = await startRedisSentinel();
  const [master, replica] = deployment.servers;
  const broker = createRedisBroker({ url: deployment.url, prefix: 'own', node: 'a', publishTimeoutMs: 30_000 });
  await broker.start(createRecorder());
  try {
    const publish = (data: number) => broker.publish(requestFor('x', data, { history: HISTORY }));
    const first = await publish(1);
    await redisCli(master!.port, 'WAIT', '1', '10000');
    // No server has a password, so a replica that offers one is refused by its master.
    await redisCli(replica!.port, 'CONFIG', 'SET', 'masterauth', 'wrong');
    await redisCli(replica!.port, 'CLIENT', 'KILL', 'TYPE', 'master');
    for (const data of [2, 3]) await publish(data);
    master!.kill('SIGKILL');
    await vi.waitFor(() => expect(broker.health()).toMatchObject({ affected: 'both' }), WAIT);
    await vi.waitFor(() => expect(broker.health()).toEqual({ state: 'ready' }), WAIT);
    expect(await publish(4)).toEqual({ epoch: first.epoch, offset: 4, duplicate: false });
  } finally {
    await broker.close();
  }
});

describe('Cluster', () => {
  test('a subscribed partition that moves to another master is followed, and comes back', async () => {
    await using deployment = await startRedisCluster();
    await using load = await startLoad(deployment, 'moving');
    await load.someMore();
    const slot = slotOfTag(PARTITION_TAGS[partitionOf('moving')]!);
    const owner = deployment.servers[Math.min(2, Math.floor(slot / Math.ceil(16_384 / 3)))]!;
    const other = deployment.servers.find((server) => server !== owner)!;
    const idOf = (port: number): Promise<string> => redisCli(port, 'CLUSTER', 'MYID');
    const move = async (from: number, to: number): Promise<void> => {
      await redisCli(to, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', await idOf(from));
      await redisCli(from, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', await idOf(to));
      for (;;) {
        const keys = (await redisCli(from, 'CLUSTER', 'GETKEYSINSLOT', String(slot), '100')).split('\n');
        if (keys[0] === '') break;
        await redisCli(from, 'MIGRATE', '127.0.0.1', String(to), '', '0', '5000', 'KEYS', ...keys);
      }
      for (const port of [to, from]) await redisCli(port, 'CLUSTER', 'SETSLOT', String(slot), 'NODE', await idOf(to));
    };
    // One on each master, wherever its slots are; the one of the slot follows it.
    const probed = async (): Promise<number[]> => {
      const owners = load.broker.probeChannels('probe').map(async (channel) => {
        const key = `{${PARTITION_TAGS[partitionOf(channel)]!}}`;
        const holds = (port: number) => redisCli(port, 'GET', key).then((answer) => !answer.startsWith('MOVED'));
        for (const { port } of deployment.servers) if (await holds(port)) return port;
        return 0;
      });
      return (await Promise.all(owners)).toSorted((a, b) => a - b);
    };
    const masters = deployment.servers.map(({ port }) => port).toSorted((a, b) => a - b);
    expect(await probed()).toEqual(masters);
    await move(owner.port, other.port);
    await expectRecovery(load);
    expect(await probed()).toEqual(masters);
    const before = load.events.path.length;
    await move(other.port, owner.port);
    await vi.waitFor(() => expect(load.events.path.slice(before)).toContain('restored'), WAIT);
    await load.someMore();
    await load.check();
  });

  test('the replica of a killed master is followed', async () => {
    await using deployment = await startRedisCluster({ replicas: true });
    await using load = await startLoad(deployment, 'x');
    await load.someMore();
    const slot = slotOfTag(PARTITION_TAGS[partitionOf('x')]!);
    const index = Math.min(2, Math.floor(slot / Math.ceil(16_384 / 3)));
    deployment.servers[index]!.kill('SIGKILL');
    await expectRecovery(load);
    await load.check();
  });
});
