// Runs a Redis Cluster, or a master with replica and Sentinels, of real servers for the tests.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { startRedis, type RedisProcess } from './redis-process.ts';
import { withSystemFolders } from './process.ts';

const run = promisify(execFile);
const READY_MS = 20_000;

/** Asks a server by redis-cli, or by what REDIS_CLI names. */
export const redisCli = async (port: number, ...args: string[]): Promise<string> => {
  const { stdout } = await run(process.env['REDIS_CLI'] ?? 'redis-cli', ['-p', String(port), ...args], {
    env: withSystemFolders(process.env),
  });
  return stdout.trim();
};

const until = async (what: string, condition: () => Promise<boolean>): Promise<void> => {
  const deadline = performance.now() + READY_MS;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`not within ${READY_MS} ms: ${what}`);
    await pause(25);
  }
};

export interface RedisDeployment extends AsyncDisposable {
  readonly url: string;
  /** Masters first, then the replica of each. */
  readonly servers: readonly RedisProcess[];
  readonly sentinels: readonly RedisProcess[];
}

const stopAll = async (processes: readonly RedisProcess[]): Promise<void> => {
  await Promise.all(processes.map((server) => server.stop()));
};

/** Three masters with an even share of the slots; with `replicas` one for each of them. */
export async function startRedisCluster(options: { readonly replicas?: boolean } = {}): Promise<RedisDeployment> {
  const count = options.replicas === true ? 6 : 3;
  const args = [
    ...['--cluster-node-timeout', '1000', '--cluster-replica-validity-factor', '0'],
    ...['--repl-diskless-sync-delay', '0'],
  ];
  const servers = await Promise.all(Array.from({ length: count }, () => startRedis({ cluster: true, args })));
  const [first] = servers;
  const masters = servers.slice(0, 3);
  for (const [i, server] of servers.entries()) {
    await redisCli(server.port, 'CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1));
    const share = Math.ceil(16_384 / 3);
    if (i < 3) {
      const last = Math.min(16_383, (i + 1) * share - 1);
      await redisCli(server.port, 'CLUSTER', 'ADDSLOTSRANGE', String(i * share), String(last));
    }
    if (i > 0) await redisCli(server.port, 'CLUSTER', 'MEET', '127.0.0.1', String(first!.port), String(first!.busPort));
  }
  const agreed = (server: RedisProcess): Promise<boolean> =>
    redisCli(server.port, 'CLUSTER', 'INFO').then(
      (info) => info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${count}`),
    );
  for (const server of servers) await until('cluster agrees', () => agreed(server));
  for (const [i, replica] of servers.slice(3).entries()) {
    const id = await redisCli(masters[i]!.port, 'CLUSTER', 'MYID');
    await until('replica is attached', async () => (await redisCli(replica.port, 'CLUSTER', 'REPLICATE', id)) === 'OK');
    await until('replica is in step', async () =>
      (await redisCli(replica.port, 'INFO', 'replication')).includes('master_link_status:up'),
    );
  }
  return {
    url: `redis+cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    servers,
    sentinels: [],
    [Symbol.asyncDispose]: () => stopAll(servers),
  };
}

/** A master `main`, a replica and three Sentinels. */
export async function startRedisSentinel(): Promise<RedisDeployment> {
  const master = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
  const replica = await startRedis({
    args: ['--replicaof', '127.0.0.1', String(master.port), '--repl-diskless-sync-delay', '0'],
  });
  await until('replica is in step', async () =>
    (await redisCli(replica.port, 'INFO', 'replication')).includes('master_link_status:up'),
  );
  const directory = await mkdtemp(join(tmpdir(), 'weir-sentinel-'));
  const sentinels: RedisProcess[] = [];
  for (const n of [1, 2, 3]) {
    const file = join(directory, `sentinel-${n}.conf`);
    const lines = [
      `sentinel monitor main 127.0.0.1 ${master.port} 2`,
      ...['sentinel down-after-milliseconds main 500', 'sentinel failover-timeout main 3000'],
    ];
    await writeFile(file, `${lines.join('\n')}\n`);
    sentinels.push(await startRedis({ configFile: file, args: ['--sentinel'] }));
  }
  for (const sentinel of sentinels) {
    await until('Sentinels know each other and the replica', async () => {
      const state = await redisCli(sentinel.port, 'SENTINEL', 'MASTER', 'main');
      return /num-slaves\n1\n/.test(state) && /num-other-sentinels\n2\n/.test(state);
    });
  }
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/main`,
    servers: [master, replica],
    sentinels,
    async [Symbol.asyncDispose]() {
      await stopAll(sentinels);
      await stopAll([master, replica]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
