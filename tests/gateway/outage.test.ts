// The outage contract: while Redis is away publishes fail fast and say when to try again, and what was acknowledged is
// found later: delivered and in history, or covered by a change of epoch that the subscriber was told of.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type FaultProxy,
  freePort,
  type RedisProcess,
  requestJson,
  startFaultProxy,
  startRedis,
  type TemporaryDirectory,
  temporaryDirectory,
  waitFor,
  type WsClient,
} from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const PUBLISH_TIMEOUT_MS = 1_000;
/** The publish timeout and as much again for the two cores that other suites share. */
const FAST_MS = 2 * PUBLISH_TIMEOUT_MS;
const LOOPS = 3;
/** Pace of each publisher, so that an outage is not thousands of refusals. */
const PACE_MS = 5;
const HISTORY_PAGE = 1_000;

interface Position {
  readonly epoch: string;
  readonly offset: number;
}
type Outcome = { readonly data: string; readonly tookMs: number } & (
  | { readonly kind: 'acknowledged'; readonly position: Position }
  | { readonly kind: 'refused' }
);

/** The refusal of one publication, as a problem document or as an item of a batch. */
const REFUSAL = {
  code: 114,
  name: 'broker_unavailable',
  temporary: true,
  retryAfterMs: expect.any(Number) as number,
};

const outcomeOf = (data: string, tookMs: number, body: object): Outcome => {
  if ('offset' in body && 'epoch' in body) {
    return { data, tookMs, kind: 'acknowledged', position: body as Position };
  }
  expect('error' in body ? body.error : body).toMatchObject(REFUSAL);
  return { data, tookMs, kind: 'refused' };
};

/** Each publication carries its own name as `data` and as `messageId`, so that it can be told in history and retried. */
const publish = async (gateway: GatewayUnderTest, channel: string, data: string): Promise<Outcome> => {
  const startedMs = performance.now();
  const { status, headers, body } = await gateway.api('/v1/publish', { body: { channel, data, messageId: data } });
  if (status !== 200) {
    const retryAfter = Number(headers.get('retry-after'));
    expect({ status, retryAfter: retryAfter >= 1 }).toEqual({ status: 503, retryAfter: true });
  }
  return outcomeOf(data, performance.now() - startedMs, body as object);
};

const publishBatch = async (gateway: GatewayUnderTest, channel: string, all: readonly string[]): Promise<Outcome[]> => {
  const startedMs = performance.now();
  const commands = all.map((data) => ({ publish: { channel, data, messageId: data } }));
  const { status, body } = await gateway.api('/v1/batch', { body: { commands } });
  expect(status).toBe(200);
  const { results } = body as { results: object[] };
  expect(results).toHaveLength(all.length);
  return results.map((item, index) => outcomeOf(all[index]!, performance.now() - startedMs, item));
};

/** Publishers that never stop for a refusal; every answer is kept. */
const startPublishers = (gateway: GatewayUnderTest, channel: string) => {
  const outcomes: Outcome[] = [];
  let stopped = false;
  const run = async (loop: number): Promise<void> => {
    for (let n = 0; !stopped; n += 1) {
      const names = ['a', 'b', 'c'].map((part) => `${loop}-${n}${part}`);
      if (loop === 0) outcomes.push(...(await publishBatch(gateway, channel, names)));
      else outcomes.push(await publish(gateway, channel, names[0]!));
      await pause(PACE_MS);
    }
  };
  const running = Promise.all(Array.from({ length: LOOPS }, (_, loop) => run(loop)));
  // Observed by `stop`; a loop that failed before is no unhandled rejection until then.
  running.catch(() => undefined);
  return {
    outcomes,
    count: (kind: Outcome['kind']): number => outcomes.filter((outcome) => outcome.kind === kind).length,
    async stop(): Promise<void> {
      stopped = true;
      await running;
    },
  };
};

interface StoredHistory extends Position {
  readonly messages: readonly { readonly offset: number; readonly data: string }[];
}
const readHistory = async (gateway: GatewayUnderTest, channel: string): Promise<StoredHistory> => {
  const messages: { offset: number; data: string }[] = [];
  let since = '';
  for (;;) {
    const path = `/v1/channels/${channel}/history?limit=${HISTORY_PAGE}${since}`;
    const { status, text, body } = await gateway.api(path);
    if (status !== 200) throw new Error(`history answered ${status}: ${text}`);
    const page = body as StoredHistory & { more: boolean };
    messages.push(...page.messages);
    if (!page.more) return { epoch: page.epoch, offset: page.offset, messages };
    since = `&since_epoch=${page.epoch}&since_offset=${messages.at(-1)!.offset}`;
  }
};

interface Seen {
  /** Data by `epoch offset`. */
  readonly messages: ReadonlyMap<string, unknown>;
  /** Epochs whose end the subscriber was told. */
  readonly ended: ReadonlySet<string>;
  readonly lost: readonly object[];
  readonly position: Position;
}
const keyOf = ({ epoch, offset }: Position): string => `${epoch} ${offset}`;

/** What the subscriber knows; throws where offsets do not run upward without hole or overlap. */
const seenBy = (client: WsClient, channel: string, start: Position): Seen => {
  const messages = new Map<string, unknown>();
  const ended = new Set<string>();
  const lost: object[] = [];
  let { epoch, offset } = start;
  for (const push of client.pushes) {
    if (push['channel'] !== channel) continue;
    if (push.type === 'message') {
      expect(push['offset'], `after ${epoch} ${offset}`).toBe(offset + 1);
      offset += 1;
      messages.set(keyOf({ epoch, offset }), push['data']);
    } else if (push.type === 'gap' && push['reason'] === 'epoch') {
      ended.add(epoch);
      epoch = push['epoch'] as string;
      offset = push['offset'] as number;
    } else if (push.type === 'gap') {
      lost.push(push);
      expect(push['from']).toBe(offset + 1);
      offset = push['to'] as number;
    }
  }
  return { messages, ended, lost, position: { epoch, offset } };
};

interface Outage {
  readonly name: string;
  readonly channel: string;
  readonly newEpoch: 'always' | 'possible' | 'never';
  begin(): void | Promise<void>;
  end(): void | Promise<void>;
}

describe.each(['without persistence', 'with AOF on every write'] as const)('Redis %s', (persistence) => {
  let directory: TemporaryDirectory;
  let redisPort: number;
  let redis: RedisProcess;
  let proxy: FaultProxy;
  let gateway: GatewayUnderTest;

  const start = (): Promise<RedisProcess> => {
    const aof = ['--dir', directory.path, '--appendonly', 'yes', '--appendfsync', 'always'];
    return startRedis({ port: redisPort, args: persistence === 'without persistence' ? [] : aof });
  };
  beforeAll(async () => {
    [directory, redisPort] = await Promise.all([temporaryDirectory('outage'), freePort()]);
    redis = await start();
    proxy = await startFaultProxy({ port: redisPort });
    const config = join(directory.path, 'weir.yaml');
    await writeFile(config, 'namespaces:\n  default: {history: {size: 50000, ttl: 10m}}\n');
    gateway = await startGatewayUnderTest({
      WEIR_CONFIG: config,
      WEIR_BROKER: 'redis',
      WEIR_REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
      WEIR_PUBLISH_TIMEOUT_MS: String(PUBLISH_TIMEOUT_MS),
    });
  });
  afterAll(async () => {
    await gateway.stop();
    await proxy.stop();
    await redis.stop();
    await directory.remove();
  });

  const outages: readonly Outage[] = [
    {
      name: 'stopped and continued',
      channel: 'frozen',
      newEpoch: 'never',
      begin: () => redis.kill('SIGSTOP'),
      end: () => redis.kill('SIGCONT'),
    },
    {
      name: 'killed and started anew',
      channel: 'killed',
      newEpoch: persistence === 'without persistence' ? 'always' : 'never',
      begin: async () => {
        redis.kill('SIGKILL');
        await redis.exited;
      },
      end: async () => {
        redis = await start();
      },
    },
    {
      name: 'behind links that went dark',
      channel: 'dark',
      newEpoch: 'never',
      begin: () => proxy.blackhole(),
      end: () => proxy.heal(),
    },
    {
      name: 'behind links that are cut and refused',
      channel: 'cut',
      newEpoch: 'never',
      begin: () => {
        proxy.refuse();
        proxy.reset();
      },
      end: () => proxy.heal(),
    },
  ];

  it.each(outages)(
    '$name: refusals are fast and say when to come back, and nothing acknowledged is missing in silence',
    async ({ channel, newEpoch, begin, end }) => {
      const client = await gateway.connect({ timeoutMs: 20_000 });
      const subscribed = (await client.expect('subscribe', { channel })) as unknown as Position;
      const publishers = startPublishers(gateway, channel);
      const reaches = (kind: Outcome['kind'], count: number): Promise<unknown> =>
        waitFor(() => publishers.count(kind) >= count, {
          timeoutMs: 20_000,
          description: () => `${count} publications to be ${kind}; ${publishers.count(kind)} are`,
        });
      await reaches('acknowledged', 100);
      await begin();
      try {
        await reaches('refused', 50);
        // Whatever else needs Redis says so in the same way.
        for (const path of [
          `/v1/channels/${channel}/history`,
          '/v1/channels',
          `/v1/channels/${channel}`,
          '/v1/stats',
        ]) {
          const { status, headers, body } = await gateway.api(path);
          expect({ path, status, retryAfter: headers.get('retry-after') }).toEqual({
            path,
            status: 503,
            retryAfter: '1',
          });
          expect(body).toMatchObject(REFUSAL);
        }
        const ready = await requestJson(`${gateway.node.url}/health/ready`);
        expect({ status: ready.status, retryAfter: ready.headers.get('retry-after') }).toEqual({
          status: 503,
          retryAfter: '1',
        });
        expect((await requestJson(`${gateway.node.url}/health/live`)).status).toBe(200);
        // A balancer keeps its connections and sends no new ones.
        const accepting = await requestJson(`${gateway.node.url}/health/accepting`);
        expect(accepting).toMatchObject({ status: 404, body: { status: 'not_ready' } });
      } finally {
        await end();
      }
      await reaches('acknowledged', publishers.count('acknowledged') + 100);
      await publishers.stop();

      const { outcomes } = publishers;
      expect(Math.max(...outcomes.map(({ tookMs }) => tookMs))).toBeLessThan(FAST_MS);
      // The outcome of what was refused is unknown: the same messageId again must not publish it twice.
      for (const { data, kind } of [...outcomes]) {
        if (kind === 'refused') outcomes.push(await publish(gateway, channel, data));
      }

      const history = await readHistory(gateway, channel);
      await waitFor(() => keyOf(seenBy(client, channel, subscribed).position) === keyOf(history), {
        description: () => `the subscriber to reach ${keyOf(history)}`,
      });
      const seen = seenBy(client, channel, subscribed);
      const stored = new Map(history.messages.map(({ offset, data }) => [offset, data]));
      const acknowledged = outcomes.filter((outcome) => outcome.kind === 'acknowledged');
      const missing = acknowledged.filter(({ data, position }) => {
        const inHistory = position.epoch === history.epoch && stored.get(position.offset) === data;
        const delivered = seen.messages.get(keyOf(position)) === data;
        return position.epoch === history.epoch ? !(inHistory && delivered) : !seen.ended.has(position.epoch);
      });
      expect(missing).toEqual([]);
      expect(seen.lost).toEqual([]);
      expect(new Set(acknowledged.map(({ data }) => data))).toEqual(new Set(outcomes.map(({ data }) => data)));
      expect(new Set(stored.values()).size, 'no publication is in the log twice').toBe(history.messages.length);
      // One answer per position: a second one would be an acknowledgement of something else.
      const byPosition = new Map(acknowledged.map(({ data, position }) => [keyOf(position), data]));
      expect(byPosition.size).toBe(new Set(acknowledged.map(({ data }) => data)).size);
      if (newEpoch !== 'possible') expect(seen.ended.size > 0).toBe(newEpoch === 'always');
      await gateway.giveBack();
    },
    60_000,
  );
});

describe('a node that waits for a replica', () => {
  it('refuses while there is none, says when to come back, and answers the retry with the first position', async () => {
    await using redis = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
    const gateway = await startGatewayUnderTest({
      WEIR_BROKER: 'redis',
      WEIR_REDIS_URL: redis.url,
      WEIR_REDIS_MIN_REPLICAS: '1',
    });
    const answer = () => gateway.api('/v1/publish', { body: { channel: 'x', data: 1, messageId: 'm' } });
    try {
      const client = await gateway.connect();
      await client.expect('subscribe', { channel: 'x' });
      const { status, headers, body } = await answer();
      expect({ status, retryAfter: headers.get('retry-after') }).toEqual({ status: 503, retryAfter: '1' });
      expect(body).toMatchObject(REFUSAL);
      expect(await client.command('publish', { channel: 'x', data: 1, messageId: 'm' })).toMatchObject({
        type: 'error',
        code: 114,
        temporary: true,
      });
      // It hears, and everything but publishing works: no balancer may take the node out for it.
      expect((await requestJson(`${gateway.node.url}/health/ready`)).status).toBe(200);
      expect(await gateway.metric('weir_node_deaf_total')).toBe(0);
      await using replica = await startRedis({
        args: ['--replicaof', '127.0.0.1', String(redis.port), '--repl-diskless-sync-delay', '0'],
      });
      expect(replica.port).toBeGreaterThan(0);
      await waitFor(async () => (await answer()).status === 200, { description: 'the replica to have it' });
      expect((await answer()).body).toMatchObject({ offset: 1, duplicate: true });
      await client.waitForMessages(1);
      expect(client.messages()).toHaveLength(1);
    } finally {
      await gateway.giveBack();
      await gateway.stop();
    }
  });
});
