// Limits over all nodes in Redis: budgets by rate-limiter-flexible, held counts by a script, on the link of history reads.
import { RateLimiterRedis } from 'rate-limiter-flexible';
import type { Redis } from 'ioredis';
import { BrokerUnavailableError } from '../broker.ts';
import type { Budget, HoldRequest, Limits } from '../limits.ts';
import { driverError } from './driver-error.ts';
import type { KeySpace } from './keys.ts';
import { loadScript, runScript } from './script.ts';
import type { Shard } from './shard.ts';

export interface RedisLimitsOptions {
  readonly keySpace: KeySpace;
  /** Name of the holder of shares: the node. */
  readonly node: string;
  readonly shardOf: (partition: number) => Shard | undefined;
  /** A server refused or was lost. */
  onFailure(): void;
}

const SECOND_MS = 1000;

/** One limiter per connection and budget: there are as many budgets as configuration keys. */
const createLimiters = () => {
  const known = new WeakMap<Redis, Map<string, RateLimiterRedis>>();
  return (redis: Redis, { points, windowMs }: Budget): RateLimiterRedis => {
    const limiters = known.get(redis) ?? new Map<string, RateLimiterRedis>();
    known.set(redis, limiters);
    const name = `${points}/${windowMs}`;
    const limiter =
      limiters.get(name) ??
      new RateLimiterRedis({ storeClient: redis, points, duration: windowMs / SECOND_MS, keyPrefix: '' });
    limiters.set(name, limiter);
    return limiter;
  };
};

export const createRedisLimits = ({ keySpace, node, shardOf, onFailure }: RedisLimitsOptions): Limits => {
  const holdScript = loadScript('limit-hold.lua');
  const limiterOf = createLimiters();

  const reach = async <T>(partition: number, work: (redis: Redis) => Promise<T>): Promise<T> => {
    const link = shardOf(partition)?.historyLink;
    if (link?.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await work(link.redis);
    } catch (error) {
      onFailure();
      throw new BrokerUnavailableError('the limit could not be reached', { cause: driverError(error) });
    }
  };

  const holdGroup = async (group: readonly HoldRequest[], leaseMs: number): Promise<number[]> => {
    const keys = group.map(({ key }) => keySpace.ofLimit('hold', key));
    const numbers = group.flatMap(({ used, wanted, limit }) => [used, wanted, limit]);
    const names = keys.map(({ key }) => key);
    const args = [leaseMs, node, ...numbers];
    return (await reach(keys[0]!.partition, (redis) => runScript(redis, holdScript, names, args))) as number[];
  };

  return {
    async spend(key, points, budget) {
      const { partition, key: name } = keySpace.ofLimit('budget', key);
      // `penalty` counts and never refuses: who went over the budget learns how much of the request was still in it.
      const { consumedPoints, msBeforeNext } = await reach(partition, (redis) =>
        limiterOf(redis, budget).penalty(name, points),
      );
      const left = budget.points - (consumedPoints - points);
      return { granted: Math.max(0, Math.min(points, left)), endsInMs: Math.max(0, msBeforeNext) };
    },
    async hold(requests, leaseMs) {
      const shares = new Array<number>(requests.length);
      const groups = keySpace.groupByCall([...requests.keys()], (index) => requests[index]!.key);
      await Promise.all(
        groups.map(async (indexes) => {
          const group = indexes.map((index) => requests[index]!);
          const results = await holdGroup(group, leaseMs);
          for (const [i, index] of indexes.entries()) shares[index] = results[i]!;
        }),
      );
      return shares;
    },
  };
};
