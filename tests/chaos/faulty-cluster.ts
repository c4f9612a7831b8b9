// A real cluster whose every part can be broken by a step: node processes, HAProxy, Redis behind one proxy per node.
import { cp, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type FaultProxy,
  freePort,
  type NodeProcess,
  type RedisProcess,
  startFaultProxy,
  startHaproxy,
  startNode,
  startRedis,
  temporaryDirectory,
} from '../support/index.ts';
import type { Step } from './scenario.ts';

export interface FaultyCluster extends AsyncDisposable {
  readonly wsUrl: string;
  /** Server API through HAProxy. */
  readonly apiUrl: string;
  /** Of the nodes; they keep their addresses over restarts. */
  readonly nodeUrls: readonly string[];
  readonly apiKey: string;
  /** Applies a step that does not concern clients; resolves when its effect is over. */
  apply(step: Step): Promise<void>;
}

const API_KEY = 'chaos';
const DRAIN_TIMEOUT_MS = 3_000;
const DELAY_MS = 150;
/** What an append-only file that is synced every second may lose. */
const LOST_TAIL_MS = 1_000;

const sendToRedis = (port: number, line: string): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(`${line}\r\n`));
    socket.on('data', () => socket.destroy());
    // Redis may be down at this moment, and then nobody is there to be killed.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });

export const startFaultyCluster = async (nodeCount: number, entry: 'source' | 'built'): Promise<FaultyCluster> => {
  const endings: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of endings.splice(0).toReversed()) await end();
  };
  try {
    return await build(nodeCount, entry, endings, stop);
  } catch (error) {
    await stop();
    throw error;
  }
};

const build = async (
  nodeCount: number,
  entry: 'source' | 'built',
  endings: (() => Promise<void>)[],
  stop: () => Promise<void>,
): Promise<FaultyCluster> => {
  const data = await temporaryDirectory('chaos-redis');
  endings.push(() => data.remove());
  const redisPort = await freePort();
  const startOwnRedis = (): Promise<RedisProcess> =>
    startRedis({ port: redisPort, args: ['--dir', data.path, '--appendonly', 'yes'] });
  let redis = await startOwnRedis();
  endings.push(() => redis.stop());
  const haproxy = await startHaproxy();
  endings.push(haproxy.stop);

  const proxies: FaultProxy[] = [];
  const nodes: NodeProcess[] = [];
  const startOwnNode = (index: number, port?: number): Promise<NodeProcess> =>
    startNode({
      name: `node-${index + 1}`,
      ...(port === undefined ? {} : { port }),
      redisUrl: `redis://127.0.0.1:${proxies[index]?.port ?? redisPort}`,
      apiKey: API_KEY,
      entry,
      env: { WEIR_DRAIN_TIMEOUT_MS: String(DRAIN_TIMEOUT_MS), WEIR_LOG_LEVEL: 'warn' },
      // It starts while Redis may be away.
      readyTimeoutMs: 60_000,
    });
  endings.push(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  });
  for (let index = 0; index < nodeCount; index += 1) {
    const proxy = await startFaultProxy({ port: redisPort });
    endings.push(proxy.stop);
    proxies.push(proxy);
    nodes.push(await startOwnNode(index));
  }
  await haproxy.setNodes(nodes);

  // Steps on one part wait for each other; those on different parts overlap.
  const busy = new Map<string, Promise<void>>();
  const inTurn = (part: string, action: () => Promise<void>): Promise<void> => {
    const done = (busy.get(part) ?? Promise.resolve()).then(action);
    busy.set(part, done);
    return done;
  };
  const restartNode = async (
    index: number,
    end: (node: NodeProcess) => Promise<unknown>,
    forMs: number,
  ): Promise<void> => {
    const node = nodes[index];
    if (node === undefined) return;
    await end(node);
    await pause(forMs);
    nodes[index] = await startOwnNode(index, node.port);
  };
  const restartRedis = async (keeps: 'nothing' | 'all' | 'old', forMs: number): Promise<void> => {
    const [log, older] = [join(data.path, 'appendonlydir'), join(data.path, 'older')];
    if (keeps === 'old') {
      await cp(log, older, { recursive: true });
      await pause(LOST_TAIL_MS);
    }
    redis.kill('SIGKILL');
    await redis.exited;
    if (keeps !== 'all') await rm(log, { recursive: true, force: true });
    if (keeps === 'old') await rename(older, log);
    await pause(forMs);
    redis = await startOwnRedis();
  };
  const cutRedis = async (proxy: FaultProxy, how: 'blackhole' | 'reset' | 'delay', forMs: number): Promise<void> => {
    if (how === 'blackhole') proxy.blackhole();
    else if (how === 'delay') proxy.delay(DELAY_MS);
    else {
      proxy.refuse();
      proxy.reset();
    }
    await pause(forMs);
    proxy.heal();
  };
  const apply = (step: Step): Promise<void> => {
    switch (step.kind) {
      case 'kill-node':
        return inTurn(`node ${step.node}`, () =>
          restartNode(
            step.node,
            (node) => {
              node.kill('SIGKILL');
              return node.exited;
            },
            step.forMs,
          ),
        );
      case 'roll-node':
        return inTurn(`node ${step.node}`, () => restartNode(step.node, (node) => node.stop(), 0));
      case 'kill-pubsub':
        return sendToRedis(redisPort, 'CLIENT KILL TYPE pubsub');
      case 'restart-redis-empty':
        return inTurn('redis', () => restartRedis('nothing', step.forMs));
      case 'restart-redis-persisted':
        return inTurn('redis', () => restartRedis('all', step.forMs));
      case 'restart-redis-stale':
        return inTurn('redis', () => restartRedis('old', step.forMs));
      case 'cut-redis': {
        const proxy = proxies[step.node];
        if (proxy === undefined) return Promise.resolve();
        return inTurn(`link ${step.node}`, () => cutRedis(proxy, step.how, step.forMs));
      }
      case 'stall-clients':
      case 'cut-clients':
        return Promise.resolve();
    }
  };
  return {
    wsUrl: `${haproxy.publicUrl.replace('http', 'ws')}/v1/ws`,
    apiUrl: haproxy.apiUrl,
    nodeUrls: nodes.map(({ url }) => url),
    apiKey: API_KEY,
    apply,
    [Symbol.asyncDispose]: stop,
  };
};
