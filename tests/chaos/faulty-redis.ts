// The Redis of a faulty cluster: one server with an append-only file, reached by each node through a proxy of its own.
import { cp, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type FaultProxy,
  freePort,
  type RedisProcess,
  startFaultProxy,
  startRedis,
  temporaryDirectory,
} from '../support/index.ts';
import type { Step } from './scenario.ts';

/** What nodes share, and how it breaks. */
export interface FaultyRedis {
  /** As the node reaches it, by its index. */
  urlOf(node: number): string;
  /** Applies a step of its own; resolves when its effect is over, at once for the steps of others. */
  apply(step: Step): Promise<void>;
}

const DELAY_MS = 150;
/** What an append-only file that is synced every second may lose. */
const LOST_TAIL_MS = 1_000;

/** Steps on one part wait for each other; those on different parts overlap. */
export const createTurns = (): ((part: string, action: () => Promise<void>) => Promise<void>) => {
  const busy = new Map<string, Promise<void>>();
  return (part, action) => {
    const done = (busy.get(part) ?? Promise.resolve()).then(action);
    busy.set(part, done);
    return done;
  };
};

/** Cuts every connection that subscribed. */
export const killSubscribers = (port: number): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write('CLIENT KILL TYPE pubsub\r\n'));
    socket.on('data', () => socket.destroy());
    // Redis may be down at this moment, and then nobody is there to be killed.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });

/** What was started is noted in `endings`, also when it fails. */
export const startFaultyRedis = async (nodeCount: number, endings: (() => Promise<void>)[]): Promise<FaultyRedis> => {
  const data = await temporaryDirectory('chaos-redis');
  endings.push(() => data.remove());
  const port = await freePort();
  const start = (): Promise<RedisProcess> => startRedis({ port, args: ['--dir', data.path, '--appendonly', 'yes'] });
  let redis = await start();
  endings.push(() => redis.stop());
  const proxies: FaultProxy[] = [];
  for (let index = 0; index < nodeCount; index += 1) {
    const proxy = await startFaultProxy({ port });
    endings.push(proxy.stop);
    proxies.push(proxy);
  }

  const inTurn = createTurns();
  const restart = async (keeps: 'nothing' | 'all' | 'old', forMs: number): Promise<void> => {
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
    redis = await start();
  };
  const cut = async (proxy: FaultProxy, how: 'blackhole' | 'reset' | 'delay', forMs: number): Promise<void> => {
    if (how === 'blackhole') proxy.blackhole();
    else if (how === 'delay') proxy.delay(DELAY_MS);
    else {
      proxy.refuse();
      proxy.reset();
    }
    await pause(forMs);
    proxy.heal();
  };
  return {
    urlOf: (node) => `redis://127.0.0.1:${proxies[node]?.port ?? port}`,
    async apply(step) {
      if (step.kind === 'kill-pubsub') await killSubscribers(port);
      if (step.kind === 'restart-redis-empty') await inTurn('redis', () => restart('nothing', step.forMs));
      if (step.kind === 'restart-redis-persisted') await inTurn('redis', () => restart('all', step.forMs));
      if (step.kind === 'restart-redis-stale') await inTurn('redis', () => restart('old', step.forMs));
      if (step.kind === 'cut-redis') {
        const proxy = proxies[step.node];
        if (proxy !== undefined) await inTurn(`link ${step.node}`, () => cut(proxy, step.how, step.forMs));
      }
    },
  };
};
