// The Redis of a faulty cluster behind Sentinels: a master and a replica that change places, with the tail or without it.
import { setTimeout as pause } from 'node:timers/promises';
import { redisCli, startRedisSentinel } from '../../loadbalancer/cluster/redis-topologies.ts';
import { type RedisProcess, startRedis, waitFor } from '../support/index.ts';
import { createTurns, type FaultyRedis, killSubscribers } from './faulty-redis.ts';

const ELECTION_TIMEOUT_MS = 40_000;
/** No server has one, so a replica that offers it is refused by its master. */
const WRONG_PASSWORD = 'wrong';

/** What was started is noted in `endings`, also when it fails. */
export const startFaultySentinel = async (endings: (() => Promise<void>)[]): Promise<FaultyRedis> => {
  const deployment = await startRedisSentinel();
  endings.push(async () => {
    await deployment[Symbol.asyncDispose]();
  });
  const servers = new Map(deployment.servers.map((server) => [server.port, server]));
  endings.push(async () => {
    await Promise.all([...servers.values()].map((server) => server.stop()));
  });
  const [sentinel] = deployment.sentinels;
  const ask = (...words: string[]): Promise<string> => redisCli(sentinel?.port ?? 0, 'SENTINEL', ...words);

  const masterPort = async (): Promise<number> => Number((await ask('GET-MASTER-ADDR-BY-NAME', 'main')).split('\n')[1]);
  const roles = async (): Promise<{ readonly master: RedisProcess; readonly replica: RedisProcess }> => {
    const port = await masterPort();
    const [master, replica] = [servers.get(port), [...servers.values()].find((server) => server.port !== port)];
    if (master === undefined || replica === undefined) throw new Error(`Sentinel names ${port} as the master`);
    return { master, replica };
  };
  const becomesMaster = (port: number): Promise<unknown> =>
    waitFor(async () => (await masterPort()) === port, {
      timeoutMs: ELECTION_TIMEOUT_MS,
      description: `Sentinel to promote ${port}`,
    });
  /** Both servers and the Sentinels are as at the start, so that the next step can begin. */
  const settled = (master: number, replica: number): Promise<unknown> =>
    waitFor(
      async () => {
        const state = await redisCli(replica, 'INFO', 'replication');
        return state.includes(`master_port:${master}`) && state.includes('master_link_status:up');
      },
      { timeoutMs: ELECTION_TIMEOUT_MS, description: `${replica} to follow ${master}` },
    );

  const failOver = async (tailMs: number, forMs: number): Promise<void> => {
    const { master, replica } = await roles();
    if (tailMs > 0) {
      // From here on the replica gets nothing, and stays so whatever it tries.
      await redisCli(replica.port, 'CONFIG', 'SET', 'masterauth', WRONG_PASSWORD);
      await redisCli(replica.port, 'CLIENT', 'KILL', 'TYPE', 'master');
      await pause(tailMs);
    }
    master.kill('SIGKILL');
    await master.exited;
    await becomesMaster(replica.port);
    await redisCli(replica.port, 'CONFIG', 'SET', 'masterauth', '');
    await pause(forMs);
    const args = ['--replicaof', '127.0.0.1', String(replica.port), '--repl-diskless-sync-delay', '0'];
    servers.set(master.port, await startRedis({ port: master.port, args }));
    await settled(replica.port, master.port);
  };
  const switchOver = async (): Promise<void> => {
    const { master, replica } = await roles();
    // Refused for a while after a failover.
    await waitFor(async () => (await ask('FAILOVER', 'main')) === 'OK', {
      timeoutMs: ELECTION_TIMEOUT_MS,
      description: 'Sentinel to begin a failover',
    });
    await becomesMaster(replica.port);
    // The Sentinels do this too, after ten seconds or more in which both servers take writes (ADR 9).
    await redisCli(master.port, 'REPLICAOF', '127.0.0.1', String(replica.port));
    await settled(replica.port, master.port);
  };

  const inTurn = createTurns();
  return {
    urlOf: () => deployment.url,
    async apply(step) {
      if (step.kind === 'kill-pubsub') await killSubscribers(await masterPort());
      if (step.kind === 'fail-over') await inTurn('redis', () => failOver(step.tailMs, step.forMs));
      if (step.kind === 'switch-over') await inTurn('redis', switchOver);
    },
  };
};
