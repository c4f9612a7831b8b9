// No secret leaves a node: not by its logs at their most talkative, not by --print-config, not by a refused start.
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configKeys, type ConfigKey } from '../../gateway/config/keys.ts';
import { envNameOf } from '../../gateway/config/words.ts';
import {
  freePort,
  openRawSocket,
  openWsClient,
  projectRoot,
  requestJson,
  type RunningProcess,
  startProcess,
  startRedis,
  temporaryDirectory,
  upgradeRequest,
  waitFor,
} from '../support/index.ts';

/** Part of every secret here, and of nothing else. */
const MARK = 'hushhush';
const secret = (name: string): string => `${MARK}-${name}-0123456789-0123456789-0123456789`;
const environment = {
  WEIR_API_KEYS: `a=${secret('api')}`,
  WEIR_JWT_SECRET: secret('jwt'),
  WEIR_JWKS_URL: `http://user:${secret('jwks')}@127.0.0.1:1/keys`,
  WEIR_HOOK_CONNECT_URL: `http://user:${secret('connect')}@127.0.0.1:1/connect`,
  WEIR_HOOK_SUBSCRIBE_URL: `http://user:${secret('subscribe')}@127.0.0.1:1/subscribe`,
  WEIR_HOOK_PUBLISH_URL: `http://user:${secret('publish')}@127.0.0.1:1/publish`,
  WEIR_HOOK_EVENTS_URL: `http://user:${secret('events')}@127.0.0.1:1/events`,
  WEIR_HOOK_RPC_URL: `http://user:${secret('rpc')}@127.0.0.1:1/rpc`,
  WEIR_HOOK_SECRET: secret('hook'),
  WEIR_REDIS_URL: `redis://user:${secret('redis')}@127.0.0.1:1`,
  WEIR_BROKER: 'redis',
};

it('every key that may hold a secret is tried here', () => {
  // Makes sense with a key in a file alone, and is tried with one in gateway/config/production.test.ts.
  const elsewhere = ['tlsKeyPassphrase'];
  const secretKeys = (Object.keys(configKeys) as ConfigKey[]).filter((key) => configKeys[key].secret !== 'no');
  const missing = secretKeys.filter((key) => !elsewhere.includes(key) && !(envNameOf(key) in environment));
  expect(missing).toEqual([]);
});

const startDirectly = (env: Readonly<Record<string, string>>, ...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', 'gateway/main.ts', ...args], {
    cwd: projectRoot(),
    env: { PATH: process.env['PATH'], ...env },
    timeout: 20_000,
  }).catch((error: unknown) => error as { code: number; stdout: string; stderr: string });

describe('a running node', () => {
  let node: RunningProcess;
  const lines: string[] = [];
  const answers: string[] = [];
  beforeAll(async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    // Redis is not there, so the node is never ready and reports errors all the time.
    node = await startProcess({
      name: 'talkative',
      command: process.execPath,
      args: ['--import', 'tsx', 'gateway/main.ts'],
      cwd: projectRoot(),
      env: { PATH: process.env['PATH'], ...environment, WEIR_PORT: String(port), WEIR_LOG_LEVEL: 'trace' },
      readyWhen: async () => (await requestJson(`${url}/health/live`)).status === 200,
      onLine: (line) => lines.push(line),
    });
    for (const [path, headers] of [
      ['/v1/stats', { 'X-API-Key': secret('wrong') }],
      ['/v1/stats', { Authorization: `Bearer ${secret('wrong')}` }],
      ['/v1/stats', { Authorization: `Basic ${secret('wrong')}` }],
      ['/v1/stats', { 'X-API-Key': secret('api') }],
    ] as const) {
      answers.push((await requestJson(url + path, { headers })).text);
    }
    const publish = { channel: 'c', data: 1 };
    answers.push((await requestJson(`${url}/v1/publish`, { apiKey: secret('api'), body: publish })).text);
    answers.push(
      (await requestJson(`${url}/v1/publish`, { apiKey: secret('api'), body: { key: secret('api') } })).text,
    );
    await using raw = await openRawSocket(port);
    raw.write(upgradeRequest('/v1/ws', { Cookie: secret('cookie'), Authorization: `Bearer ${secret('token')}` }));
    answers.push(await raw.waitForText(/\r\n\r\n/));
    await openWsClient(`ws://127.0.0.1:${port}/v1/ws`, { connect: { token: secret('token') }, timeoutMs: 2_000 }).catch(
      (error: unknown) => answers.push(String(error)),
    );
    await waitFor(() => lines.some((line) => line.includes('broker_error')), { description: 'an error in the log' });
  });
  afterAll(() => node.stop());

  it('logs, and no secret is in its logs', () => {
    expect(lines.filter((line) => line.toLowerCase().includes(MARK))).toEqual([]);
  });

  it('answers errors, and no secret is in them', () => {
    expect(answers.join('\n')).toMatch(/unauthorized/);
    expect(answers.filter((text) => text.toLowerCase().includes(MARK))).toEqual([]);
  });
});

it('a Redis that refuses the password is an error in the log, and the password is not', async () => {
  await using redis = await startRedis({ args: ['--requirepass', 'another-one'] });
  const lines: string[] = [];
  const port = await freePort();
  await using node = await startProcess({
    name: 'refused',
    command: process.execPath,
    args: ['--import', 'tsx', 'gateway/main.ts'],
    cwd: projectRoot(),
    env: {
      ...{ PATH: process.env['PATH'], WEIR_PORT: String(port), WEIR_LOG_LEVEL: 'trace', WEIR_BROKER: 'redis' },
      WEIR_REDIS_URL: `redis://default:${secret('redis')}@127.0.0.1:${redis.port}`,
    },
    readyWhen: async () => (await requestJson(`http://127.0.0.1:${port}/health/live`)).status === 200,
    onLine: (line) => lines.push(line),
  });
  await waitFor(() => lines.some((line) => line.includes('WRONGPASS')), { description: 'the refusal in the log' });
  expect(lines.filter((line) => line.includes(MARK))).toEqual([]);
  expect(node.exit()).toBeUndefined();
});

describe('a start', () => {
  it.each(['--print-config', '--check-config'])('with %s shows no secret', async (mode) => {
    const { stdout, stderr } = await startDirectly(environment, mode);
    expect(stdout).not.toBe('');
    expect(stdout + stderr).not.toContain(MARK);
  });

  it('that is refused says why with exit code 78, one line per problem, and shows no secret', async () => {
    const outcome = await startDirectly({
      WEIR_API_KEYS: `a=${secret('api')}:fly`,
      WEIR_JWT_SECRET: `weir-dev-${MARK}`,
      WEIR_REDIS_URL: `http://user:${secret('redis')}@redis`,
      WEIR_JWKS_URL: `ftp://${secret('jwks')}`,
      WEIR_ALLOWED_ORIGINS: '*',
    });
    expect(outcome).toMatchObject({ code: 78, stdout: '' });
    expect(outcome.stderr.trim().split('\n')).toHaveLength(5);
    expect(outcome.stderr).not.toContain(MARK);
  });

  it('by a file of secrets shows none either', async () => {
    const directory = await temporaryDirectory('secrets');
    try {
      const file = join(directory.path, 'jwt');
      await writeFile(file, secret('jwt'));
      const { stdout, stderr } = await startDirectly({ WEIR_JWT_SECRET_FILE: file }, '--print-config');
      expect(stdout).toContain('jwtSecret: "***"');
      expect(stdout + stderr).not.toContain(MARK);
      expect(readdirSync(directory.path)).toEqual(['jwt']);
    } finally {
      await directory.remove();
    }
  });
});
