// The topology a URL asks for: one server, the master the Sentinels name, or the masters of a cluster.
import { ReplyError, type Redis } from 'ioredis';
import { parseClusterNodes } from './cluster-view.ts';
import { PARTITIONS } from './partition.ts';
import type { RedisTarget } from './redis-url.ts';
import { parseSentinelMaster } from './sentinel-view.ts';
import { createTopologyWatch, type TopologyWatchOptions } from './topology-watch.ts';
import { createFixedTopology, type Topology } from './topology.ts';

export const createTopology = (
  target: RedisTarget,
  options: Pick<TopologyWatchOptions, 'reconnectDelayMs' | 'onError'>,
): Topology => {
  if (target.kind === 'standalone') return createFixedTopology(target.url, PARTITIONS);
  const { kind, seeds, masterName, urlOf, credentials } = target;

  const askSentinel = async (redis: Redis): Promise<readonly string[]> => {
    const ask = (): Promise<readonly string[]> => redis.call('SENTINEL', 'MASTER', masterName) as Promise<string[]>;
    try {
      return await ask();
    } catch (error) {
      // Sentinels are asked without a login first: most have none, and refuse one.
      const wantsLogin = error instanceof ReplyError && (error as Error).message.startsWith('NOAUTH');
      if (!wantsLogin || credentials.length === 0) throw error;
      await redis.call('AUTH', ...credentials);
      return ask();
    }
  };

  return createTopologyWatch({
    ...options,
    seeds,
    async ask(redis, url) {
      if (kind === 'sentinel') return parseSentinelMaster(await askSentinel(redis), urlOf);
      const asked = new URL(url).hostname.replace(/^\[|\]$/g, '');
      const nodes = (await redis.call('CLUSTER', 'NODES')) as string;
      return parseClusterNodes(nodes, (host, port) => urlOf(host === '' ? asked : host, port));
    },
  });
};
