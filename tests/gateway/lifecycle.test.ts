import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  freePort,
  type JsonAnswer,
  type NodeProcess,
  openWsClient,
  projectRoot,
  type RedisProcess,
  requestJson,
  startNode,
  startRedis,
  UpgradeRefused,
  waitFor,
  type WireObject,
  type WsClient,
} from '../support/index.ts';

const apiKey = 'secret-of-the-lifecycle-test-0123456789';
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const wsUrlOf = (node: NodeProcess): string => `${node.url.replace('http', 'ws')}/v1/ws`;
const offsetsOf = (messages: readonly WireObject[]): unknown[] => messages.map(({ offset }) => offset);

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
/** Runs the gateway until it ends by itself; one that does not is killed and fails. */
const runToEnd = (env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('WEIR_'));
    const options = {
      cwd: projectRoot(),
      env: { ...Object.fromEntries(inherited), ...env },
      timeout: 15_000,
      killSignal: 'SIGKILL' as const,
    };
    execFile(
      process.execPath,
      ['--import', 'tsx', join('gateway', 'main.ts'), ...args],
      options,
      (error, stdout, stderr) => {
        if (error?.killed === true) reject(new Error(`still running after ${options.timeout} ms: ${stdout}${stderr}`));
        else resolve({ code: Number(error?.code ?? 0), stdout, stderr });
      },
    );
  });

describe('configuration at start', () => {
  it('refuses what cannot work with exit code 78 and one line per problem on stderr', async () => {
    const env = {
      WEIR_PORT: 'http',
      WEIR_PORTT: '8080',
      WEIR_MAX_FRAME_BYTES: '-1',
      WEIR_REDIS_URL: 'redis://:hunter2@localhost',
      WEIR_API_KEYS: 'short=abc',
      WEIR_CONFIG: '/nonexistent/weir.yaml',
    };
    const { code, stdout, stderr } = await runToEnd(env, '--wrong');
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
    const lines = stderr.trimEnd().split('\n');
    for (const line of lines) expect(line).toMatch(/^weir: configuration: /);
    const named = [
      'WEIR_PORT:',
      'WEIR_PORTT',
      'WEIR_MAX_FRAME_BYTES',
      'WEIR_REDIS_URL',
      'WEIR_API_KEYS',
      'WEIR_CONFIG',
      '--wrong',
    ];
    for (const name of named)
      expect(
        lines.filter((line) => line.includes(name)),
        stderr,
      ).toHaveLength(1);
    expect(lines).toHaveLength(named.length);
    expect(stderr).not.toContain('hunter2');
  });

  it('checks and prints without starting, and prints no secret', async () => {
    const env = {
      WEIR_BROKER: 'redis',
      WEIR_REDIS_URL: 'redis://user:hunter2@redis.internal:6380/1',
      WEIR_API_KEYS: 'backend=correct-horse-battery-staple-0123456789',
      WEIR_JWT_SECRET: 'another-very-secret-text-0123456789-abcdef',
    };
    const [checked, printed] = await Promise.all([runToEnd(env, '--check-config'), runToEnd(env, '--print-config')]);
    expect(checked).toMatchObject({ code: 0, stderr: '' });
    expect(printed).toMatchObject({ code: 0, stderr: '' });
    expect(printed.stdout).toContain('redis.internal:6380');
    expect(printed.stdout).toContain('backend');
    for (const secret of ['hunter2', 'correct-horse', 'another-very-secret']) {
      expect(checked.stdout + printed.stdout).not.toContain(secret);
    }
  });
});

/** Many clients that only wait to be closed. */
const openMany = async (url: string, count: number): Promise<WsClient[]> => {
  const clients: WsClient[] = [];
  while (clients.length < count) {
    const part = upTo(Math.min(50, count - clients.length)).map(() => openWsClient(url, { timeoutMs: 10_000 }));
    clients.push(...(await Promise.all(part)));
  }
  return clients;
};

describe('one process and its ports', () => {
  const lines: string[] = [];
  let node: NodeProcess;
  let internalUrl: string;
  let clients: WsClient[] = [];
  beforeAll(async () => {
    const internalPort = await freePort();
    internalUrl = `http://127.0.0.1:${internalPort}`;
    node = await startNode({ name: 'ports', apiKey, internalPort, onLine: (line) => lines.push(line) });
  });
  afterAll(async () => {
    for (const client of clients) client.terminate();
    await node.stop();
  });

  it('serves the server API and metrics on the internal port only', async () => {
    const onlyInternal = [
      '/v1/stats',
      '/v1/channels',
      '/v1/channels/c',
      '/v1/channels/c/history',
      '/metrics',
      '/v1/openapi.json',
    ];
    for (const path of onlyInternal) {
      expect({ path, status: (await requestJson(node.url + path, { apiKey })).status }).toEqual({ path, status: 404 });
      expect({ path, status: (await requestJson(internalUrl + path, { apiKey })).status }).toEqual({
        path,
        status: 200,
      });
    }
    const body = { channel: 'c', data: 1 };
    expect((await requestJson(`${node.url}/v1/publish`, { apiKey, body })).status).toBe(404);
    expect((await requestJson(`${internalUrl}/v1/publish`, { apiKey, body })).status).toBe(200);
    expect((await requestJson(`${internalUrl}/v1/publish`, { body })).status).toBe(401);
    // Prometheus needs no key there.
    expect((await requestJson(`${internalUrl}/metrics`)).status).toBe(200);
  });

  it('serves health on both and WebSockets on the public one only', async () => {
    for (const url of [node.url, internalUrl]) {
      expect((await requestJson(`${url}/health/ready`)).status).toBe(200);
      expect((await requestJson(`${url}/health/live`)).status).toBe(200);
    }
    expect((await requestJson(`${node.url}/v1/ws`)).status).toBe(426);
    expect((await requestJson(`${internalUrl}/v1/ws`)).status).toBe(404);
  });

  it('a second process on a port that is taken ends with one clear line, whichever port it is', async () => {
    const free = String(await freePort());
    const taken = String(node.port);
    const common = { WEIR_PROFILE: 'development', WEIR_LOG_FORMAT: 'json' };
    const outcomes = await Promise.all([
      runToEnd({ ...common, WEIR_PORT: taken }),
      runToEnd({ ...common, WEIR_PORT: taken, WEIR_INTERNAL_PORT: free }),
      runToEnd({ ...common, WEIR_PORT: free, WEIR_INTERNAL_PORT: String(node.internalPort) }),
    ]);
    for (const { code, stderr } of outcomes) {
      expect(code).toBe(1);
      expect(stderr.trimEnd().split('\n')).toEqual([
        expect.stringMatching(/^weir: cannot listen on 127\.0\.0\.1:\d+: /),
      ]);
    }
    expect((await requestJson(`${node.url}/health/ready`)).status).toBe(200);
  });

  it('SIGTERM turns readiness to 404, refuses new clients, tells every client 1012 and exits 0', async () => {
    const url = wsUrlOf(node);
    clients = await openMany(url, 800);
    const statuses = new Set<number>();
    const refusals = new Set<number>();
    node.kill('SIGTERM');
    // Asked without pause until nobody answers any more.
    const poll = async (): Promise<void> => {
      while (node.exit() === undefined) {
        const answer = await requestJson(`${internalUrl}/health/ready`).catch(() => undefined);
        if (answer !== undefined) statuses.add(answer.status);
        if (answer?.status === 404) expect(answer.body).toMatchObject({ status: 'draining', reasons: ['draining'] });
      }
    };
    const knock = async (): Promise<void> => {
      while (node.exit() === undefined) {
        const outcome = await openWsClient(url).catch((error: unknown) => error);
        if (outcome instanceof UpgradeRefused) refusals.add(outcome.status);
      }
    };
    const exiting = node.exited;
    await Promise.all([poll(), knock(), exiting]);
    expect(await exiting).toEqual({ code: 0, signal: null });
    expect([...statuses]).toContain(404);
    expect([...refusals]).toEqual([503]);
    const codes = await Promise.all(clients.map((client) => client.waitForClose()));
    expect(new Set(codes.map(({ code }) => code))).toEqual(new Set([1012]));
    expect(lines.filter((line) => line.includes('"event":"drain"'))).toHaveLength(1);
    expect(lines.at(-1)).toContain('"event":"stopped"');
  });
});

it('a second signal ends a draining process at once', async () => {
  const node = await startNode({ name: 'impatient', apiKey });
  const clients = await openMany(wsUrlOf(node), 500);
  try {
    // Both reach it in one turn of its loop, however busy the machine is: a drain without survivors may be over before
    // this process could answer to its beginning.
    node.kill('SIGSTOP');
    node.kill('SIGTERM');
    node.kill('SIGINT');
    node.kill('SIGCONT');
    expect(await node.exited).toEqual({ code: 1, signal: null });
    const codes = await Promise.all(clients.map((client) => client.waitForClose()));
    expect(codes.some(({ code }) => code === 1006)).toBe(true);
  } finally {
    for (const client of clients) client.terminate();
    await node.stop();
  }
});

describe('Redis that comes and goes', () => {
  const lines: string[] = [];
  let redisPort: number;
  let redis: RedisProcess | undefined;
  let node: NodeProcess;
  let starting: Promise<NodeProcess>;
  let port: number;
  let url: string;
  let opened: WsClient[] = [];
  const connect = async (to = node): Promise<WsClient> => {
    const client = await openWsClient(wsUrlOf(to), { timeoutMs: 10_000 });
    opened.push(client);
    return client;
  };
  const publish = (channel: string, data: unknown, to = url): Promise<JsonAnswer> =>
    requestJson(`${to}/v1/publish`, { apiKey, body: { channel, data } });
  const readiness = (): Promise<JsonAnswer> => requestJson(`${url}/health/ready`);
  const becomes = (status: number): Promise<JsonAnswer> =>
    waitFor(
      async () => {
        const answer = await readiness();
        return answer.status === status ? answer : undefined;
      },
      { timeoutMs: 10_000, description: `readiness to be ${status}` },
    );

  beforeAll(async () => {
    [redisPort, port] = await Promise.all([freePort(), freePort()]);
    url = `http://127.0.0.1:${port}`;
    const redisUrl = `redis://127.0.0.1:${redisPort}`;
    starting = startNode({ name: 'patient', apiKey, port, redisUrl, onLine: (line) => lines.push(line) });
    // Observed by the tests; until then a failure is no unhandled one.
    starting.catch(() => undefined);
    await waitFor(readiness, { timeoutMs: 20_000, description: 'the node to listen' });
  });
  afterEach(async () => {
    for (const client of opened) await client[Symbol.asyncDispose]();
    opened = [];
  });
  afterAll(async () => {
    await redis?.stop();
    await starting.then(
      (one) => one.stop(),
      () => undefined,
    );
  });

  it('not there at start: one says why in the log and in health, and publishes are refused for now', async () => {
    const { status, body } = await readiness();
    expect(status).toBe(503);
    expect(body).toMatchObject({ status: 'not_ready', node: 'patient', reasons: [expect.stringMatching(/broker/)] });
    expect((await requestJson(`${url}/health/live`)).status).toBe(200);
    await waitFor(() => lines.some((line) => line.includes(`ECONNREFUSED 127.0.0.1:${redisPort}`)), {
      description: 'a log line that names the address',
    });
    const answer = await publish('c', 1);
    expect({ status: answer.status, retryAfter: answer.headers.get('retry-after') }).toEqual({
      status: 503,
      retryAfter: '1',
    });
    expect(answer.body).toMatchObject({ code: 114, name: 'broker_unavailable', temporary: true });
    const refused = await openWsClient(`ws://127.0.0.1:${port}/v1/ws`).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: expect.not.stringContaining('draining') as string,
    });
  });

  it('arriving later makes the node ready by itself', async () => {
    redis = await startRedis({ port: redisPort });
    node = await starting;
    expect((await becomes(200)).body).toMatchObject({ status: 'ready', reasons: [] });
    const client = await connect();
    expect(client.connected).toMatchObject({ broker: 'ready' });
    await client.expect('subscribe', { channel: 'arrived' });
    expect((await publish('arrived', 1)).status).toBe(200);
    await client.waitForMessages(1);
  });

  it('killed and started anew: clients are told, publishes fail fast, subscriptions go on with a receipt', async () => {
    const client = await connect();
    const channel = 'survivor';
    const { epoch } = await client.expect('subscribe', { channel });
    expect((await publish(channel, 'before')).status).toBe(200);
    await client.waitForMessages(1);

    redis?.kill('SIGKILL');
    await redis?.exited;
    await client.waitForPush('status', ({ broker }) => broker === 'degraded');
    expect((await becomes(503)).body).toMatchObject({ reasons: [expect.stringMatching(/^broker /)] });
    const startedMs = performance.now();
    const [refused, command, history, subscribe] = await Promise.all([
      publish(channel, 'into the void'),
      client.command('publish', { channel, data: 'into the void' }),
      client.command('history', { channel }),
      client.command('subscribe', { channel: 'another' }),
    ]);
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    expect({ status: refused.status, retryAfter: refused.headers.get('retry-after') }).toEqual({
      status: 503,
      retryAfter: '1',
    });
    for (const reply of [command, history, subscribe]) {
      expect(reply).toMatchObject({
        type: 'error',
        code: 114,
        temporary: true,
        retryAfterMs: expect.any(Number) as number,
      });
    }
    expect(await client.command('ping')).toMatchObject({ type: 'pong' });
    expect((await connect()).connected).toMatchObject({ broker: 'degraded' });

    redis = await startRedis({ port: redisPort });
    await becomes(200);
    await client.waitForPush('status', ({ broker }) => broker === 'ready');
    expect((await publish(channel, 'after')).status).toBe(200);
    await client.waitForMessages(2);
    // Redis forgot everything: the numbering is a new one, and the subscriber is told so in between.
    const pushes = client.pushes.filter(({ type }) => type === 'message' || type === 'gap');
    expect(pushes).toMatchObject([
      { type: 'message', data: 'before', offset: 1 },
      { type: 'gap', channel, reason: 'epoch', offset: 0 },
      { type: 'message', data: 'after', offset: 1 },
    ]);
    expect(pushes[1]?.['epoch']).not.toBe(epoch);
  });

  it('cutting its pub/sub connections while another node publishes: every message arrives once and in order', async () => {
    const redisUrl = `redis://127.0.0.1:${redisPort}`;
    const channel = 'healed';
    const admin = new Redis(redisUrl);
    const other = await startNode({ name: 'other', apiKey, redisUrl });
    try {
      const subscribers = await Promise.all([connect(), connect(other)]);
      for (const client of subscribers) await client.expect('subscribe', { channel });
      const total = 2_000;
      let published = 0;
      let cuts = 0;
      while (published < total) {
        const commands = upTo(20).map((n) => ({ publish: { channel, data: published + n } }));
        const cut = published % 400 === 200 ? admin.client('KILL', 'TYPE', 'pubsub') : undefined;
        const { status, text } = await requestJson(`${other.url}/v1/batch`, { apiKey, body: { commands } });
        expect({ status, failed: text.includes('error') }).toEqual({ status: 200, failed: false });
        published += commands.length;
        cuts += Number((await cut) ?? 0);
      }
      expect(cuts).toBeGreaterThanOrEqual(2);
      for (const client of subscribers) {
        await client.waitForMessages(total);
        expect(client.gaps()).toEqual([]);
        expect(offsetsOf(client.messages())).toEqual(upTo(total));
        expect(client.messages().map(({ data }) => data)).toEqual(upTo(total));
      }
      const { text } = await requestJson(`${url}/metrics`, { apiKey });
      expect(text).toMatch(/^weir_broker_interruptions_total [1-9]/m);
    } finally {
      admin.disconnect();
      await other.stop();
    }
  });

  it('reachable again but stopped for SIGTERM: the node ends with 0 also while Redis is away', async () => {
    await redis?.stop();
    redis = undefined;
    await becomes(503);
    const client = await connect();
    node.kill('SIGTERM');
    expect(await client.waitForClose()).toMatchObject({ code: 1012 });
    expect(await node.exited).toEqual({ code: 0, signal: null });
  });
});
