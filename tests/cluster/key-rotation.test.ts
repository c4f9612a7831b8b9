// Keys of tokens and of the server API are rotated while clients and backends come at an even pace and Redis dies in between:
// nobody with a key that counts is refused, and a key that was withdrawn counts no more.
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  createKept,
  type NodeProcess,
  openWsClient,
  type RedisProcess,
  requestJson,
  signToken,
  startKeyIssuer,
  startNode,
  startRedis,
  startSteadyLoad,
  type SteadyLoad,
  type TemporaryDirectory,
  temporaryDirectory,
  waitFor,
  type WsClient,
} from '../support/index.ts';

const API_KEY = 'secret-of-the-rotation-test-0123456789';
let redis: RedisProcess;
let folder: TemporaryDirectory;
const { keep, giveBack } = createKept();

beforeAll(async () => {
  [redis, folder] = await Promise.all([startRedis(), temporaryDirectory('rotation')]);
});
afterEach(giveBack);
afterAll(async () => {
  await redis[Symbol.asyncDispose]();
  await folder.remove();
});

const openNode = async (name: string, env: Readonly<Record<string, string>>): Promise<NodeProcess> =>
  keep(
    await startNode({
      name,
      apiKey: API_KEY,
      redisUrl: redis.url,
      // How fast this machine is, is not the question here.
      env: { WEIR_OVERLOAD_CPU_PERCENT: '0', WEIR_OVERLOAD_LAG_MS: '0', ...env },
    }),
  );
const openNodes = (env: Readonly<Record<string, string>>): Promise<readonly NodeProcess[]> =>
  Promise.all(['a', 'b'].map((name) => openNode(name, env)));
const wsUrlOf = ({ url }: NodeProcess): string => `${url.replace('http', 'ws')}/v1/ws`;

/** Kills Redis, does `meanwhile`, and starts another, empty one in its place. */
const withoutRedis = async (meanwhile: () => Promise<void>): Promise<void> => {
  redis.kill('SIGKILL');
  await redis.exited;
  try {
    await meanwhile();
  } finally {
    redis = await startRedis({ port: redis.port });
  }
};

const FAILED = /^refused|^failed/;
/** Resolves when so many more attempts ended in `outcome`. */
const more = async ({ outcomes }: SteadyLoad, count: number, outcome: string): Promise<void> => {
  const from = outcomes.length;
  const found = (): number => outcomes.slice(from).filter((one) => one === outcome).length;
  await waitFor(() => found() >= count || outcomes.some((one) => FAILED.test(one)), {
    timeoutMs: 30_000,
    description: () => `${count} times ${outcome}, ${found()} are here`,
  });
};
const refusedOf = ({ outcomes }: SteadyLoad): readonly string[] => outcomes.filter((one) => FAILED.test(one));

describe('the keys of a token issuer', () => {
  const MAX_AGE_MS = 2000;
  const MIN_INTERVAL_MS = 300;

  it('are rotated twice, once while Redis is away: no client with a good token is refused, and those of a withdrawn key are', async () => {
    const issuer = keep(await startKeyIssuer(3));
    const nodes = await openNodes({
      WEIR_JWKS_URL: issuer.url,
      WEIR_JWKS_MAX_AGE_MS: String(MAX_AGE_MS),
      WEIR_JWKS_MIN_INTERVAL_MS: String(MIN_INTERVAL_MS),
      WEIR_ANONYMOUS: 'false',
    });
    const startedMs = performance.now();
    let signing = 0;
    /** Connects with a token that no node has seen, publishes, and leaves. */
    const visit = async (n: number): Promise<string> => {
      const node = nodes[n % nodes.length]!;
      await using client = await openWsClient(wsUrlOf(node), { connect: false });
      const token = issuer.sign(signing, `visitor-${n}`);
      const [connected, published] = await client.commands([
        { type: 'connect', token },
        { type: 'publish', channel: `c${n % 10}`, data: n },
      ]);
      if (connected?.type !== 'connected') return `refused: ${JSON.stringify(connected)}`;
      if (published?.type === 'published') return 'published';
      // What a client is told while Redis is away; anything else is a refusal.
      return published?.['code'] === 114 ? 'connected' : `refused: ${JSON.stringify(published)}`;
    };
    const tryConnect = async (node: NodeProcess, token: string): Promise<number> => {
      await using client = await openWsClient(wsUrlOf(node), { connect: false });
      const reply = await client.command('connect', { token });
      return reply.type === 'connected' ? 0 : (await client.waitForClose()).code;
    };

    const load = keep(startSteadyLoad(25, visit));
    await more(load, 20, 'published');
    const known = issuer.sign(0, 'resident');
    const residents = await Promise.all(
      nodes.map(async (node) => keep(await openWsClient(wsUrlOf(node), { connect: { token: known } }))),
    );
    const refresh = async (client: WsClient, key: number): Promise<void> => {
      expect(await client.command('refresh', { token: issuer.sign(key, 'resident') })).toMatchObject({
        type: 'refreshed',
      });
    };

    // Published and used at once, with the old key beside it: the nodes have never heard of the new one.
    issuer.publish(0, 1);
    signing = 1;
    await more(load, 20, 'published');
    for (const node of nodes) expect(await tryConnect(node, known)).toBe(0);
    for (const client of residents) await refresh(client, 1);

    await withoutRedis(async () => {
      await more(load, 5, 'connected');
      issuer.publish(1, 2);
      signing = 2;
      await more(load, 20, 'connected');
      for (const client of residents) await refresh(client, 2);
    });
    await more(load, 40, 'published');

    // Key 0 was withdrawn above, key 1 is now: whether a node knows the token or not, it is refused after the age of the set.
    issuer.publish(2);
    const withdrawn = [known, issuer.sign(0, 'fresh'), issuer.sign(1, 'fresh')];
    for (const node of nodes) {
      for (const token of withdrawn) {
        await waitFor(async () => (await tryConnect(node, token)) === 3500, {
          description: 'a token of a withdrawn key to be refused',
        });
      }
    }
    await more(load, 40, 'published');
    await load.stop();

    expect(refusedOf(load)).toEqual([]);
    for (const client of residents) expect(client.closed()).toBeUndefined();
    // Whatever came: each node asks no more often than it may.
    const mayAsk = nodes.length * ((performance.now() - startedMs) / MIN_INTERVAL_MS + 1);
    expect(issuer.requests).toBeLessThanOrEqual(mayAsk);
  }, 120_000);
});

describe('API keys in a file', () => {
  const [oldSecret, newSecret] = ['old-secret-of-the-backend-0001', 'new-secret-of-the-backend-0002'];
  const metric = async ({ url }: NodeProcess, apiKey: string, line: RegExp): Promise<number> => {
    const { status, text } = await requestJson(`${url}/metrics`, { apiKey });
    const value = line.exec(text)?.[1];
    if (value === undefined) throw new Error(`no such metric; the answer is ${status}: ${text.slice(0, 200)}`);
    return Number(value);
  };
  const keysOf = (node: NodeProcess, apiKey: string): Promise<number> => metric(node, apiKey, /^weir_api_keys (\d+)$/m);
  const refusalsOf = (node: NodeProcess, apiKey: string): Promise<number> =>
    metric(node, apiKey, /^weir_credential_reloads_total\{outcome="refused"\} (\d+)$/m);
  const statusWith = async ({ url }: NodeProcess, apiKey: string): Promise<number> =>
    (await requestJson(`${url}/v1/publish`, { apiKey, body: { channel: 'c', data: 0 } })).status;

  it('are rotated on running nodes while Redis dies: no backend is refused, the old key is after its removal', async () => {
    const path = join(folder.path, 'api-keys');
    const write = (...entries: readonly string[]): void => writeFileSync(path, `${entries.join('\n')}\n`);
    write(`backend=${oldSecret}`);
    const nodes = await openNodes({
      WEIR_API_KEYS: '',
      WEIR_API_KEYS_FILE: path,
      WEIR_CREDENTIALS_RELOAD_MS: '100',
      WEIR_PUBLISH_TIMEOUT_MS: '1000',
    });
    const haveKeys = async (count: number, apiKey: string): Promise<void> => {
      for (const node of nodes) {
        await waitFor(async () => (await keysOf(node, apiKey)) === count, {
          description: `${node.name} to know ${count} keys`,
        });
      }
    };
    const backends = [oldSecret, oldSecret, oldSecret];
    const load = keep(
      startSteadyLoad(25, async (n) => {
        const status = await statusWith(nodes[n % nodes.length]!, backends[n % backends.length]!);
        if (status === 200) return 'published';
        // Redis is away: known as a backend, and told to come again.
        return status === 503 ? 'unavailable' : `refused: ${status}`;
      }),
    );
    await more(load, 20, 'published');

    await withoutRedis(async () => {
      await more(load, 3, 'unavailable');
      write(`backend=${oldSecret}`, `backend-2=${newSecret}`);
      await haveKeys(2, oldSecret);
      backends[0] = newSecret;
      await more(load, 10, 'unavailable');
    });
    await more(load, 20, 'published');
    for (const n of backends.keys()) {
      backends[n] = newSecret;
      await more(load, 10, 'published');
    }

    write(`backend-2=${newSecret}`);
    await haveKeys(1, newSecret);
    for (const node of nodes) expect(await statusWith(node, oldSecret)).toBe(401);
    await more(load, 20, 'published');

    // A slip of the pen takes nobody's access away, nor gives it back.
    write(`backend=${oldSecret}`, `backend-2=${newSecret}:fly`);
    for (const node of nodes) {
      await waitFor(async () => (await refusalsOf(node, newSecret)) === 1, { description: 'the file to be refused' });
      expect(await statusWith(node, oldSecret)).toBe(401);
      expect(node.lastOutput()).not.toContain(oldSecret);
    }
    await more(load, 20, 'published');
    await load.stop();
    expect(refusedOf(load)).toEqual([]);
  }, 120_000);

  it('and the file of public keys are read at once on SIGHUP, and on nothing else when it is so configured', async () => {
    const pairs = [1, 2].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
    const files = { api: join(folder.path, 'keys-hup'), pem: join(folder.path, 'public-hup.pem') };
    const write = (n: number): void => {
      writeFileSync(files.api, [`backend=${oldSecret}`, `backend-2=${newSecret}`].slice(0, n + 1).join(','));
      writeFileSync(files.pem, pairs[n]!.publicKey.export({ type: 'spki', format: 'pem' }));
    };
    write(0);
    const node = await openNode('hup', {
      WEIR_API_KEYS: '',
      WEIR_API_KEYS_FILE: files.api,
      WEIR_JWT_PUBLIC_KEY_FILE: files.pem,
      WEIR_CREDENTIALS_RELOAD_MS: '0',
    });
    const connects = async (n: number): Promise<string> => {
      await using client = await openWsClient(wsUrlOf(node), { connect: false });
      const token = signToken({ sub: 'ada' }, { algorithm: 'ES256', key: pairs[n]!.privateKey });
      return (await client.command('connect', { token })).type;
    };
    expect([await connects(0), await connects(1)]).toEqual(['connected', 'error']);
    write(1);
    expect([await connects(0), await connects(1)]).toEqual(['connected', 'error']);
    node.kill('SIGHUP');
    await waitFor(async () => (await keysOf(node, oldSecret)) === 2, { description: 'the second key' });
    expect([await connects(0), await connects(1)]).toEqual(['error', 'connected']);
    expect(await statusWith(node, newSecret)).toBe(200);
  });
});
