// Lifecycle events over real nodes and one Redis: of a node that was killed, while Redis restarts, and when Redis loses what it had.
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  createKept,
  answerJson,
  type HookBackend,
  type NodeProcess,
  openWsClient,
  type RedisProcess,
  startHookBackend,
  startNode,
  startRedis,
  temporaryDirectory,
  type TemporaryDirectory,
  toldEvents,
  typesOf,
  waitFor,
  type WsClient,
} from '../support/index.ts';

const LEASE_MS = 2000;
const PATIENT = { timeoutMs: 60_000 } as const;
let backend: HookBackend;
let redis: RedisProcess;
let directory: TemporaryDirectory;
const { keep, giveBack } = createKept();
/** Everything that was acknowledged is there again after a restart. */
const openRedis = (port?: number): Promise<RedisProcess> =>
  startRedis({
    ...(port !== undefined && { port }),
    args: ['--appendonly', 'yes', '--appendfsync', 'always', '--dir', directory.path],
  });
const openNode = async (name: string): Promise<NodeProcess> =>
  keep(
    await startNode({
      name,
      apiKey: 'secret-of-the-lifecycle-test-0123456789',
      env: {
        WEIR_BROKER: 'redis',
        WEIR_REDIS_URL: redis.url,
        WEIR_HOOK_EVENTS_URL: `${backend.url}/events`,
        WEIR_HOOK_SECRET: 'secret-of-the-hooks-0123456789012345',
        WEIR_HOOK_EVENTS_LEASE_MS: String(LEASE_MS),
        WEIR_HOOK_EVENTS_GRACE_MS: '100',
        WEIR_HOOK_TIMEOUT_MS: '500',
        WEIR_HOOK_BREAKER_OPEN_MS: '200',
        WEIR_DRAIN_NOTICE_MS: '100',
        WEIR_MOVE_TIMEOUT_MS: '500',
      },
    }),
  );
const connect = async ({ url }: NodeProcess, ...channels: readonly string[]): Promise<WsClient> => {
  const client = keep(await openWsClient(`${url.replace('http', 'ws')}/v1/ws`));
  for (const channel of channels) await client.expect('subscribe', { channel });
  return client;
};
const nameOf = ({ connected }: WsClient): string => connected!['connection'] as string;
const told = (description: string, condition: () => boolean): Promise<true> =>
  waitFor(condition, { description, ...PATIENT });

beforeEach(async () => {
  directory = await temporaryDirectory('lifecycle-events');
  redis = keep(await openRedis());
  backend = keep(await startHookBackend());
  backend.answerWith(answerJson({}));
});
afterEach(async () => {
  await giveBack();
  await directory.remove();
});

it('of a node that is killed are told by the others, although the backend was away and Redis restarted meanwhile', async () => {
  const [a, b] = await Promise.all([openNode('a'), openNode('b')]);
  const [stays, leaves] = await Promise.all([connect(b, 'shared'), connect(b, 'shared')]);
  backend.answerWith(answerJson({}, 500));
  const victims = await Promise.all(Array.from({ length: 20 }, () => connect(a, 'shared', 'alone')));
  // No moment later: who was answered is known.
  const last = await connect(a);
  a.kill('SIGKILL');
  await redis.stop();
  leaves.terminate();
  const late = await connect(b, 'late').catch(() => connect(b));
  redis = keep(await openRedis(redis.port));
  backend.answerWith((_, response) => response.socket?.resetAndDestroy());
  const restarted = backend.calls.length;
  await told('an attempt after the restart', () => backend.calls.length > restarted);
  backend.answerWith(answerJson({}));

  const gone = [...victims, last].map(nameOf);
  await told('every end', () => gone.every((name) => typesOf(backend, name).includes('disconnected')));
  for (const name of gone) expect(typesOf(backend, name)).toEqual(['connected', 'disconnected']);
  const ends = toldEvents(backend).filter(({ type, node }) => type === 'disconnected' && node === 'a');
  expect(ends.map(({ connection }) => connection).sort()).toEqual([...gone].sort());
  expect(new Set(ends.map(({ reason }) => reason))).toEqual(new Set(['node_lost']));
  await told('the channel nobody has', () => typesOf(backend, 'alone').includes('vacated'));
  await told('who left meanwhile', () => typesOf(backend, nameOf(leaves)).includes('disconnected'));
  await told('who came meanwhile', () => typesOf(backend, nameOf(late)).includes('connected'));
  expect(typesOf(backend, 'alone')).toEqual(['occupied', 'vacated']);
  expect(typesOf(backend, 'shared')).toEqual(['occupied']);
  expect(typesOf(backend, nameOf(stays))).toEqual(['connected']);
  expect(toldEvents(backend).filter(({ type }) => type === 'lost')).toEqual([]);
});

it('are told anew behind a loss when Redis lost everything', async () => {
  const nodes = await Promise.all([openNode('a'), openNode('b')]);
  const clients = await Promise.all(
    nodes.flatMap((node) => [connect(node, 'c'), connect(node, 'c'), connect(node, 'c')]),
  );
  await told('all', () => clients.every((client) => typesOf(backend, nameOf(client)).length === 1));
  const inspector = new Redis(redis.url);
  await inspector.flushall().finally(() => inspector.disconnect());
  await told('all again', () => clients.every((client) => typesOf(backend, nameOf(client)).length === 2));
  for (const client of clients) expect(typesOf(backend, nameOf(client))).toEqual(['connected', 'connected']);
  for (const node of ['a', 'b']) {
    expect(toldEvents(backend)).toContainEqual(
      expect.objectContaining({ type: 'lost', count: null, reason: 'broker', node }),
    );
  }
  expect(typesOf(backend, 'c').filter((type) => type !== 'occupied')).toEqual([]);
  const [first] = clients;
  first!.terminate();
  await told('its end', () => typesOf(backend, nameOf(first!)).includes('disconnected'));
});

it('of a node that stops are its own, and nobody is lost', async () => {
  const [a, b] = await Promise.all([openNode('a'), openNode('b')]);
  const clients = await Promise.all([connect(a, 'c'), connect(a)]);
  await connect(b, 'c');
  await a.stop();
  await told('the ends', () => clients.every((client) => typesOf(backend, nameOf(client)).length === 2));
  const ends = toldEvents(backend).filter(({ type }) => type === 'disconnected');
  expect(ends.map(({ reason }) => reason)).toEqual(['closed', 'closed']);
  expect(typesOf(backend, 'c')).toEqual(['occupied']);
});
