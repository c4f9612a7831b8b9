// What nodes restore after a failover to a replica without the tail, and what becomes of the numbering, with real servers.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, test, vi } from 'vitest';
import { Redis } from 'ioredis';
import type { Broker, ChannelTail, PublishResult } from '../broker.ts';
import { NUMBERING_TTL_MS } from '../clock.ts';
import type { Publication } from '../publication.ts';
import { startRedis, type RedisProcess } from '../../loadbalancer/cluster/redis-process.ts';
import { BOUNDS, WAIT, createRecorder, dataOf, range, requestFor, type Recorder } from '../conformance/harness.ts';
import { createRedisBroker } from './redis-broker.ts';

interface Address extends AsyncDisposable {
  readonly port: number;
  /** Cuts every connection; new ones go there. */
  pointTo(port: number | undefined): void;
}

/** The one address of a master that changes. */
const startAddress = async (first: number): Promise<Address> => {
  let target: number | undefined = first;
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    if (target === undefined) return void near.destroy();
    const far = connect({ host: '127.0.0.1', port: target });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    pointTo(port) {
      target = port;
      cut();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
};

interface Pair extends AsyncDisposable {
  readonly master: Redis;
  readonly replica: Redis;
  /** With a lease, unless told otherwise; the newest publications it receives are what `tails` makes of them. */
  node(name: string, options?: NodeOptions): Promise<{ readonly broker: Broker; readonly events: Recorder }>;
  stop(broker: Broker): Promise<void>;
  /** The replica has all the master has. */
  replicated(): Promise<void>;
  /** From now on the replica hears nothing of the master. */
  cutReplication(): void;
  /** Kills the master with SIGKILL, promotes the replica, and lets the nodes reach it. */
  failOver(): Promise<void>;
}

interface NodeOptions {
  readonly leased?: boolean;
  readonly leaseMs?: number;
  readonly tails?: (all: readonly ChannelTail[]) => readonly ChannelTail[];
}

let prefixes = 0;

/** A replica that attaches is not made to wait for further ones. */
const SYNC_AT_ONCE = ['--repl-diskless-sync-delay', '0'];

const startPair = async (): Promise<Pair> => {
  const servers: RedisProcess[] = [await startRedis({ args: SYNC_AT_ONCE }), await startRedis({ args: SYNC_AT_ONCE })];
  const [first, second] = servers as [RedisProcess, RedisProcess];
  const prefix = `failover-${(prefixes += 1)}`;
  const master = new Redis(first.url);
  const replica = new Redis(second.url);
  for (const client of [master, replica]) client.on('error', () => undefined);
  const address = await startAddress(first.port);
  const replication = await startAddress(first.port);
  await replica.replicaof('127.0.0.1', replication.port);
  const replicaHas = async (field: RegExp): Promise<string | undefined> =>
    field.exec(await replica.info('replication'))?.[1];
  await vi.waitFor(async () => expect(await replicaHas(/master_link_status:(\w+)/)).toBe('up'), WAIT);
  const brokers = new Set<Broker>();
  return {
    master,
    replica,
    async node(name, { leased = true, tails, ...more }: NodeOptions = {}) {
      const broker = createRedisBroker({
        url: `redis://127.0.0.1:${address.port}`,
        prefix,
        node: name,
        publishTimeoutMs: 30_000,
        ...more,
      });
      brokers.add(broker);
      const events = createRecorder();
      await broker.start({ ...events, tails: () => tails?.([...events.tails()]) ?? events.tails() });
      if (leased) await broker.control.announce(null);
      return { broker, events };
    },
    async stop(broker) {
      brokers.delete(broker);
      await broker.close();
    },
    async replicated() {
      const sent = Number(/master_repl_offset:(\d+)/.exec(await master.info('replication'))?.[1]);
      await vi.waitFor(async () => {
        expect(Number(await replicaHas(/slave_repl_offset:(\d+)/))).toBeGreaterThanOrEqual(sent);
      }, WAIT);
    },
    cutReplication: () => replication.pointTo(undefined),
    async failOver() {
      first.kill('SIGKILL');
      await first.exited;
      // Else `ready` below could still be that of before.
      await vi.waitFor(() => {
        for (const broker of brokers.values()) expect(broker.health()).toMatchObject({ affected: 'both' });
      }, WAIT);
      await replica.replicaof('NO', 'ONE');
      address.pointTo(second.port);
      await vi.waitFor(() => {
        for (const broker of brokers.values()) expect(broker.health()).toEqual({ state: 'ready' });
      }, WAIT);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...brokers].map((broker) => broker.close()));
      master.disconnect();
      replica.disconnect();
      await Promise.all([address[Symbol.asyncDispose](), replication[Symbol.asyncDispose]()]);
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
};

/** Everything that was said about positions; throws when one of them was given to two contents. */
const createWitness = () => {
  const contents = new Map<string, unknown>();
  const saw = (epoch: string, offset: number, data: unknown): void => {
    const position = `${epoch} ${offset}`;
    if (contents.has(position)) expect(data, position).toBe(contents.get(position));
    contents.set(position, data);
  };
  return {
    acknowledged: (result: PublishResult, data: unknown): void => saw(result.epoch, result.offset, data),
    read: (epoch: string, publications: readonly Publication[]): void => {
      for (const publication of publications) saw(epoch, publication.offset, dataOf(publication));
    },
    delivered(events: Recorder): void {
      for (const { epoch, publications } of events.runs) this.read(epoch, publications);
    },
  };
};

const readAll = (broker: Broker, channel: string) =>
  broker.history.read({ channel, start: { kind: 'earliest' }, limit: 100, reverse: false, bounds: BOUNDS });

const publishAs = async (broker: Broker, channel: string, data: readonly string[]): Promise<PublishResult[]> =>
  Promise.all(data.map((each) => broker.publish(requestFor(channel, each))));

const named = (name: string, from: number, to: number): string[] => range(from, to).map((n) => `${name} ${n}`);

test('the tail a replica missed is restored by two nodes, and numbering goes on in the same epoch', async () => {
  await using pair = await startPair();
  const [a, b] = [await pair.node('a'), await pair.node('b')];
  const witness = createWitness();
  const publish = async (broker: Broker, data: string): Promise<PublishResult> => {
    const result = await broker.publish(requestFor('x', data));
    witness.acknowledged(result, data);
    return result;
  };
  await a.broker.subscribe('x');
  for (const n of range(1, 5)) await publish(a.broker, `kept ${n}`);
  await pair.replicated();
  pair.cutReplication();
  const tail = await Promise.all(range(6, 20).map((n) => publish(n % 2 ? a.broker : b.broker, `tail ${n}`)));
  await vi.waitFor(() => expect(a.events.offsets('x')).toEqual(range(1, 20)), WAIT);
  await pair.failOver();
  const fresh = await Promise.all(range(1, 30).map((n) => publish(n % 2 ? a.broker : b.broker, `new ${n}`)));
  expect(new Set([...tail, ...fresh].map(({ epoch }) => epoch)).size).toBe(1);
  expect(fresh.map(({ offset }) => offset).sort((x, y) => x - y)).toEqual(range(21, 50));
  await vi.waitFor(() => expect(new Set(a.events.offsets('x'))).toEqual(new Set(range(1, 50))), WAIT);
  const page = await readAll(b.broker, 'x');
  expect(page.publications.map(({ offset }) => offset)).toEqual(range(1, 50));
  witness.read(page.position.epoch, page.publications);
  witness.delivered(a.events);
});

test('an acknowledged publication that reached one subscriber survives when master and publisher are gone', async () => {
  await using pair = await startPair();
  const [a, b] = [await pair.node('a'), await pair.node('b', { leased: false })];
  await a.broker.subscribe('x');
  await b.broker.publish(requestFor('x', 'kept'));
  await pair.replicated();
  pair.cutReplication();
  const delivered = await b.broker.publish(requestFor('x', 'delivered'));
  await vi.waitFor(() => expect(a.events.offsets('x')).toEqual([1, 2]), WAIT);
  await pair.stop(b.broker);
  await pair.failOver();
  const page = await readAll(a.broker, 'x');
  expect(page.position).toEqual({ epoch: delivered.epoch, offset: delivered.offset });
  expect(page.publications.map(dataOf)).toEqual(['kept', 'delivered']);
});

test('a restored numbering outlives its stream by its own life', async () => {
  await using pair = await startPair();
  const { broker, events } = await pair.node('a');
  await broker.subscribe('x');
  await broker.history.positions(['x']);
  await pair.replicated();
  pair.cutReplication();
  await broker.publish(requestFor('x', 1));
  await vi.waitFor(() => expect(events.offsets('x')).toEqual([1]), WAIT);
  await pair.failOver();
  expect((await readAll(broker, 'x')).publications.map(dataOf)).toEqual([1]);
  const [streamMs, numberingMs] = await Promise.all(
    ['s', 'm'].map(async (kind) => pair.replica.pttl((await pair.replica.keys(`*}:${kind}:x`))[0]!)),
  );
  expect(streamMs).toBeGreaterThan(0);
  expect(numberingMs! - streamMs!).toBeGreaterThan(NUMBERING_TTL_MS - 60_000);
});

test('what two live nodes acknowledged in turn without any subscriber survives', async () => {
  await using pair = await startPair();
  const [a, b] = [await pair.node('a'), await pair.node('b')];
  await a.broker.publish(requestFor('x', 'kept'));
  await pair.replicated();
  pair.cutReplication();
  const acknowledged = named('tail', 1, 12);
  for (const [n, data] of acknowledged.entries()) await (n % 2 ? a : b).broker.publish(requestFor('x', data));
  await pair.failOver();
  expect((await readAll(a.broker, 'x')).publications.map(dataOf)).toEqual(['kept', ...acknowledged]);
});

test('when a live node did not restore, all epochs end, and no offset is used again', async () => {
  await using pair = await startPair();
  const silent = (): never => {
    throw new Error('this node has no answer');
  };
  const [a, b] = [await pair.node('a'), await pair.node('b')];
  await pair.node('c', { tails: silent });
  const witness = createWitness();
  await a.broker.subscribe('x');
  const [kept] = await publishAs(a.broker, 'x', ['kept']);
  const [quiet] = await publishAs(a.broker, 'quiet', ['kept']);
  await pair.replicated();
  pair.cutReplication();
  await publishAs(b.broker, 'x', named('tail', 1, 9));
  await vi.waitFor(() => expect(a.events.offsets('x')).toEqual(range(1, 10)), WAIT);
  await pair.failOver();
  const [byA, byB] = await Promise.all([
    publishAs(a.broker, 'x', named('a', 1, 15)),
    publishAs(b.broker, 'x', named('b', 1, 15)),
  ]);
  const fresh = [...byA, ...byB];
  expect(new Set(fresh.map(({ epoch }) => epoch)).size).toBe(1);
  expect(fresh[0]?.epoch).not.toBe(kept?.epoch);
  expect(fresh.map(({ offset }) => offset).sort((x, y) => x - y)).toEqual(range(1, 30));
  const [told] = await b.broker.history.positions(['quiet']);
  expect(told?.epoch).not.toBe(quiet?.epoch);
  const page = await readAll(b.broker, 'x');
  await vi.waitFor(() => expect(a.events.publications('x').length).toBeGreaterThanOrEqual(40), WAIT);
  witness.read(page.position.epoch, page.publications);
  witness.delivered(a.events);
});

test('a node that came back under its name does not answer for what it knew before', async () => {
  await using pair = await startPair();
  const [a, b] = [await pair.node('a'), await pair.node('b')];
  await a.broker.control.announce(null);
  const witness = createWitness();
  const publishTo = async (broker: Broker, data: unknown): Promise<PublishResult> => {
    const result = await broker.publish(requestFor('x', data));
    witness.acknowledged(result, data);
    return result;
  };
  const kept = await publishTo(a.broker, 'kept');
  await pair.replicated();
  pair.cutReplication();
  // Nobody but this node knows of it.
  await publishTo(b.broker, 'known to one');
  await pair.stop(b.broker);
  const again = await pair.node('b');
  await pair.failOver();
  const next = await publishTo(again.broker, 'next');
  expect(next.epoch).not.toBe(kept.epoch);
});

test('a node that started later learns from the others whose knowledge is gone', async () => {
  await using pair = await startPair();
  const [a, b] = [await pair.node('a'), await pair.node('b', { leaseMs: 200 })];
  await a.broker.control.announce(null);
  const kept = await a.broker.publish(requestFor('x', 'kept'));
  await pair.replicated();
  pair.cutReplication();
  // Nobody but this node knows of it, and nobody lists the node any more when the next one starts.
  await b.broker.publish(requestFor('x', 'known to one'));
  await pair.stop(b.broker);
  const [lives = ''] = await pair.master.keys('*:lives');
  await vi.waitFor(async () => expect(await pair.master.zcount(lives, Date.now(), '+inf')).toBe(1), WAIT);
  const later = await pair.node('c');
  await pair.failOver();
  expect((await later.broker.publish(requestFor('x', 'next'))).epoch).not.toBe(kept.epoch);
});

test('a node that started a moment ago and knows nobody does not decide before others could answer', async () => {
  await using pair = await startPair();
  const [a, b] = [await pair.node('a', { leaseMs: 200 }), await pair.node('b', { leaseMs: 200 })];
  await a.broker.control.announce(null);
  const kept = await a.broker.publish(requestFor('x', 'kept'));
  await pair.replicated();
  pair.cutReplication();
  await b.broker.publish(requestFor('x', 'known to one'));
  await pair.stop(b.broker);
  // An outage that outlasts every lease.
  const [lives = ''] = await pair.master.keys('*:lives');
  await vi.waitFor(async () => expect(await pair.master.zcount(lives, Date.now(), '+inf')).toBe(0), WAIT);
  await pair.failOver();
  const young = await pair.node('c', { leased: false });
  expect((await young.broker.publish(requestFor('x', 'next'))).epoch).not.toBe(kept.epoch);
});

test('a tail of which something is missing ends the epoch of its channel, and of no other', async () => {
  await using pair = await startPair();
  const [a, b] = [
    await pair.node('a', {
      tails: (all) =>
        all.map((tail) => (tail.channel === 'x' ? { ...tail, publications: tail.publications.slice(-2) } : tail)),
    }),
    await pair.node('b', { leased: false }),
  ];
  for (const channel of ['x', 'y']) {
    await a.broker.subscribe(channel);
    await b.broker.publish(requestFor(channel, 'kept'));
  }
  await pair.replicated();
  pair.cutReplication();
  const [[x], [y]] = [
    await publishAs(b.broker, 'x', named('x', 2, 5)),
    await publishAs(b.broker, 'y', named('y', 2, 5)),
  ];
  for (const channel of ['x', 'y'])
    await vi.waitFor(() => expect(a.events.offsets(channel)).toEqual(range(1, 5)), WAIT);
  await pair.stop(b.broker);
  await pair.failOver();
  const [afterX, afterY] = await a.broker.history.positions(['x', 'y']);
  expect(afterX?.epoch).not.toBe(x?.epoch);
  expect(afterX?.offset).toBe(0);
  expect(afterY).toEqual({ epoch: y?.epoch, offset: 5 });
  expect((await readAll(a.broker, 'y')).publications.map(dataOf)).toEqual(['kept', ...named('y', 2, 5)]);
});

test('what is held of a life that ended never comes into a later one', async () => {
  await using pair = await startPair();
  const last = (all: readonly ChannelTail[]): ChannelTail[] =>
    all.map((tail) => ({ ...tail, publications: tail.publications.slice(-2) }));
  const [a, b] = [await pair.node('a', { tails: last }), await pair.node('b', { leased: false })];
  await a.broker.subscribe('x');
  await b.broker.publish(requestFor('known', 'kept'));
  await pair.replicated();
  pair.cutReplication();
  // Nothing of it is replicated, and of its first publications nobody knows any more.
  const [old] = await publishAs(b.broker, 'x', named('old', 1, 5));
  await vi.waitFor(() => expect(a.events.offsets('x')).toEqual(range(1, 5)), WAIT);
  await pair.stop(b.broker);
  await pair.failOver();
  await a.broker.history.positions(['known']);
  expect(await pair.replica.keys('*:h:x')).toHaveLength(1);
  expect((await a.broker.publish(requestFor('x', 'new'))).epoch).not.toBe(old?.epoch);
  expect(await pair.replica.keys('*:h:x')).toEqual([]);
});

test.each(['positions', 'history'] as const)(
  'a first publication is restored above a numbering without any (%s)',
  async (path) => {
    await using pair = await startPair();
    const a = await pair.node('a');
    const [before] = await a.broker.history.positions(['x']);
    await pair.replicated();
    pair.cutReplication();
    const first = await a.broker.publish(requestFor('x', 'first'));
    await pair.failOver();
    const after =
      path === 'positions' ? (await a.broker.history.positions(['x']))[0] : (await readAll(a.broker, 'x')).position;
    expect(after).toEqual({ epoch: before?.epoch, offset: 1 });
    expect(first.epoch).toBe(before?.epoch);
  },
);

test.each(['replicated', 'restored'] as const)(
  'a retry of a publication that was %s keeps its position',
  async (how) => {
    await using pair = await startPair();
    const a = await pair.node('a');
    await a.broker.publish(requestFor('x', 0));
    await pair.replicated();
    if (how === 'restored') pair.cutReplication();
    const first = await a.broker.publish(requestFor('x', 1, { messageId: 'm' }));
    if (how === 'replicated') await pair.replicated();
    await pair.failOver();
    expect(await a.broker.publish(requestFor('x', 1, { messageId: 'm' }))).toEqual({ ...first, duplicate: true });
    expect(await a.broker.publish(requestFor('x', 2))).toEqual({ epoch: first.epoch, offset: 3, duplicate: false });
  },
);

test('a retry keeps its position also when another node was faster to restore the publication', async () => {
  await using pair = await startPair();
  const [a, b] = [await pair.node('a'), await pair.node('b')];
  await a.broker.subscribe('x');
  await b.broker.publish(requestFor('x', 0));
  await pair.replicated();
  pair.cutReplication();
  const first = await b.broker.publish(requestFor('x', 1, { messageId: 'm' }));
  await vi.waitFor(() => expect(a.events.offsets('x')).toEqual([1, 2]), WAIT);
  await pair.failOver();
  // The node that asks restores before it asks.
  await a.broker.history.positions(['x']);
  expect(await b.broker.publish(requestFor('x', 1, { messageId: 'm' }))).toEqual({ ...first, duplicate: true });
});

test('the first replica of a master changes its replication id, not its epochs', async () => {
  await using redis = await startRedis({ args: SYNC_AT_ONCE });
  await using replica = await startRedis({ args: SYNC_AT_ONCE });
  const broker = createRedisBroker({ url: redis.url, prefix: 'alone', node: 'a', publishTimeoutMs: 30_000 });
  await broker.start(createRecorder());
  await broker.control.announce(null);
  const first = await broker.publish(requestFor('x', 1));
  const [master, other] = [new Redis(redis.url), new Redis(replica.url)];
  const idOf = async (): Promise<string | undefined> =>
    /master_replid:(\w+)/.exec(await master.info('replication'))?.[1];
  const before = await idOf();
  await other.replicaof('127.0.0.1', redis.port);
  await vi.waitFor(async () => expect(await idOf()).not.toBe(before), WAIT);
  expect(await broker.publish(requestFor('x', 2))).toEqual({ ...first, offset: 2 });
  expect((await readAll(broker, 'x')).publications.map(dataOf)).toEqual([1, 2]);
  master.disconnect();
  other.disconnect();
  await broker.close();
});

test.each([1, 2])('a session is its newest holder’s also after a failover that lost %i of its claims', async (lost) => {
  await using pair = await startPair();
  const { sessions } = (await pair.node('a')).broker;
  const LEASE_MS = 60_000;
  const recordOf = (connection: string, fence: number) => ({
    session: 's',
    owner: null,
    holder: { node: 'a', connection },
    fence,
    subscriptions: [],
  });
  const claim = async (connection: string): Promise<number> => {
    const { holder } = recordOf(connection, 0);
    return (await sessions.claim({ session: 's', owner: null, holder }, LEASE_MS))!.fence;
  };
  await sessions.save([recordOf('first', 1)], LEASE_MS);
  await pair.replicated();
  pair.cutReplication();
  let overtaken = 0;
  for (let n = 0; n < lost; n += 1) overtaken = await claim(`lost-${n}`);
  await pair.failOver();
  const newest = await claim('newest');
  expect(await sessions.save([recordOf('overtaken', overtaken)], LEASE_MS)).toEqual(['stale']);
  expect(await sessions.save([recordOf('newest', newest)], LEASE_MS)).toEqual(['saved']);
});
