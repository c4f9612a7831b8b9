// The servers that are measured: two controls and Weir, each a process of its own pinned to the server core.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { build } from 'esbuild';
import { type Cluster, startCluster } from '../loadbalancer/cluster/cluster.ts';
import { freePort } from '../loadbalancer/cluster/free-port.ts';
import { BUILT_NODE_ARGUMENTS, projectRoot, startNode } from '../loadbalancer/cluster/node-process.ts';
import { startProcess } from '../loadbalancer/cluster/process.ts';
import { type RedisProcess, startRedis } from '../loadbalancer/cluster/redis-process.ts';
import { temporaryDirectory } from '../loadbalancer/cluster/temporary-directory.ts';
import { type BenchKeys, createBenchKeys, SECRET } from './access/token-rate.ts';
import { BUILD_DIRECTORY } from './loader.ts';
import type { WatchedProcess } from './load-types.ts';
import { metricsOf } from './metrics.ts';
import type { Pinning } from './pinning.ts';

export const SERVER_NAMES = [
  'raw-uws',
  'npm-ws',
  'weir-redis',
  'weir-events',
  'weir-haproxy',
  'weir-replicated',
  'weir-memory',
  'weir-cluster',
] as const;
export type ServerName = (typeof SERVER_NAMES)[number];

export interface BenchServer extends AsyncDisposable {
  readonly name: ServerName;
  readonly port: number;
  readonly pid: number;
  /** What does its part of each publication beside the server: its Redis, and the HAProxy that everything passes. */
  readonly beside?: readonly WatchedProcess[];
  /** Whole header lines that a publish needs. */
  readonly publishHeaders: readonly string[];
  /** Text of `GET /metrics` of the node that is measured; undefined for the controls and for a cluster. */
  readonly metrics?: () => Promise<string>;
  /** Makes tokens that the server takes; undefined where it verifies none. */
  readonly tokens?: BenchKeys;
  /** Three nodes, Redis and HAProxy, on any core; undefined for a single server. */
  readonly cluster?: Cluster;
}

const CONTROLS = ['raw-uws', 'npm-ws'] as const;
type ControlName = (typeof CONTROLS)[number];

/** Compiles the controls, so that no TypeScript loader shares their process. */
export const buildControls = async (): Promise<void> => {
  await build({
    entryPoints: CONTROLS.map((name) => join(import.meta.dirname, 'controls', `${name}.ts`)),
    outdir: BUILD_DIRECTORY,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
  });
};

const isUp = async (port: number): Promise<boolean> => {
  const response = await fetch(`http://127.0.0.1:${port}/health/ready`, { signal: AbortSignal.timeout(1_000) });
  await response.arrayBuffer();
  return response.ok;
};

/** Needs `buildControls` to have run. */
export const startControl = async (name: ControlName, pinning: Pinning): Promise<BenchServer> => {
  const port = await freePort();
  // taskset replaces itself by the command it is given, so the pid is the server's.
  const [command, ...args] = [
    ...pinning.serverPrefix,
    process.execPath,
    ...BUILT_NODE_ARGUMENTS,
    join(BUILD_DIRECTORY, `${name}.mjs`),
    String(port),
  ];
  const running = await startProcess({ name, command, args, readyWhen: () => isUp(port) });
  return {
    name,
    port,
    pid: running.pid,
    publishHeaders: [],
    [Symbol.asyncDispose]: () => running.stop(),
  };
};

const requireBuild = (): void => {
  if (!existsSync(join(projectRoot(), 'dist', 'gateway', 'main.js'))) {
    throw new Error('dist/gateway/main.js is missing: run "npm run build" first; the bench measures the build');
  }
};

const CLUSTER_NODES = 3;

const startWeirCluster = async (pinning: Pinning, env: Readonly<Record<string, string>>): Promise<BenchServer> => {
  requireBuild();
  const cluster = await startCluster({
    nodes: CLUSTER_NODES,
    entry: 'built',
    nodePrefix: pinning.anyCorePrefix,
    // HAProxy asks every 400 ms whether a node is ready.
    env: { WEIR_LOG_LEVEL: 'warn', WEIR_DRAIN_NOTICE_MS: '1000', ...env },
  });
  // Beside the load generator on its core three nodes would measure the lack of cores.
  for (const { pid } of [cluster.redis, cluster.haproxy, cluster.agent]) await pinning.release(pid);
  return {
    name: 'weir-cluster',
    port: cluster.haproxy.port,
    pid: cluster.nodes[0]?.pid ?? cluster.haproxy.pid,
    publishHeaders: [`X-API-Key: ${cluster.apiKey}`],
    cluster,
    [Symbol.asyncDispose]: cluster.stop,
  };
};

/** Connections come as fast as the server takes them, except where that is what is measured. */
const WITHOUT_ADMISSION = {
  WEIR_ADMISSION_PER_SECOND: '1000000',
  WEIR_MAX_USER_CONNECTIONS: '1000000',
};

/** The server of `weir-redis`, everything through HAProxy: sockets, and publications by paths opened for the bench. */
const startWeirBehindHaproxy = async (pinning: Pinning): Promise<BenchServer> => {
  requireBuild();
  const cluster = await startCluster({
    nodes: 1,
    entry: 'built',
    env: { WEIR_LOG_LEVEL: 'warn', ...WITHOUT_ADMISSION },
    nodePrefix: pinning.serverPrefix,
    // One thread, so that what it costs is one figure.
    haproxyConfig: { extraPublicPaths: ['/v1/publish', '/v1/batch'], threads: 1 },
  });
  for (const { pid } of [cluster.haproxy, cluster.agent]) await pinning.release(pid);
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error('a cluster without a node');
  return {
    name: 'weir-haproxy',
    port: cluster.haproxy.port,
    pid: node.pid,
    beside: [
      { name: 'Redis', pid: cluster.redis.pid },
      { name: 'proxy', pid: cluster.haproxy.pid },
    ],
    publishHeaders: [`X-API-Key: ${cluster.apiKey}`],
    metrics: () => metricsOf(node.url, cluster.apiKey),
    [Symbol.asyncDispose]: cluster.stop,
  };
};

type WeirName = 'weir-redis' | 'weir-events' | 'weir-replicated' | 'weir-memory';

/** None, or the master and what replicates it. */
const startRedisFor = async (name: WeirName): Promise<readonly RedisProcess[]> => {
  if (name === 'weir-memory') return [];
  const args = ['--repl-diskless-sync-delay', '0'];
  const master = await startRedis({ args });
  if (name !== 'weir-replicated') return [master];
  return [master, await startRedis({ args: [...args, '--replicaof', '127.0.0.1', String(master.port)] })];
};

/** An application that takes lifecycle events at once. */
const startApplication = async (): Promise<{ readonly url: string; close(): void }> => {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close };
};

const startWeir = async (
  name: WeirName,
  pinning: Pinning,
  env: Readonly<Record<string, string>>,
  nodeArgs: readonly string[],
): Promise<BenchServer> => {
  requireBuild();
  const servers = await startRedisFor(name);
  const [redis] = servers;
  const stopRedis = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const apiKey = randomBytes(16).toString('hex');
  const application = name === 'weir-events' ? await startApplication() : undefined;
  const tokens = createBenchKeys();
  const directory = await temporaryDirectory('bench');
  const publicKeyFile = join(directory.path, 'public.pem');
  await writeFile(publicKeyFile, tokens.publicPem);
  const node = await startNode({
    name: `bench-${name}`,
    apiKey,
    entry: 'built',
    ...(redis === undefined ? {} : { redisUrl: redis.url }),
    nodeArgs,
    prefix: pinning.serverPrefix,
    env: {
      WEIR_LOG_LEVEL: 'warn',
      ...WITHOUT_ADMISSION,
      WEIR_JWT_SECRET: SECRET,
      WEIR_JWT_PUBLIC_KEY_FILE: publicKeyFile,
      // No token is known before: what is measured is the verification.
      WEIR_MAX_KNOWN_TOKENS: '0',
      ...(name === 'weir-replicated' ? { WEIR_REDIS_MIN_REPLICAS: '1' } : {}),
      ...(application && { WEIR_HOOK_EVENTS_URL: application.url, WEIR_HOOK_SECRET: SECRET }),
      ...env,
    },
  }).catch(async (error: unknown) => {
    await stopRedis();
    await directory.remove();
    throw error;
  });
  const { url, port, pid } = node;
  return {
    name,
    port,
    pid,
    beside: redis === undefined ? [] : [{ name: 'Redis', pid: redis.pid }],
    publishHeaders: [`X-API-Key: ${apiKey}`],
    tokens,
    metrics: () => metricsOf(url, apiKey),
    [Symbol.asyncDispose]: async () => {
      await node.stop();
      application?.close();
      await stopRedis();
      await directory.remove();
    },
  };
};

/** `env` is for nodes of Weir, the one behind HAProxy apart; `nodeArgs`, for Node itself, are for single ones. */
export const startServer = (
  name: ServerName,
  pinning: Pinning,
  env: Readonly<Record<string, string>> = {},
  nodeArgs: readonly string[] = [],
): Promise<BenchServer> => {
  if (name === 'weir-cluster') return startWeirCluster(pinning, env);
  if (name === 'weir-haproxy') return startWeirBehindHaproxy(pinning);
  return name === 'raw-uws' || name === 'npm-ws'
    ? startControl(name, pinning)
    : startWeir(name, pinning, env, nodeArgs);
};
