// The Redis driver passes the conformance suite against a real server.
import { afterAll, beforeAll } from 'vitest';
import type { Broker } from '../broker.ts';
import { startRedis, type RedisProcess } from '../../loadbalancer/cluster/redis-process.ts';
import { createRedisBroker } from '../redis/redis-broker.ts';
import { describeBrokerConformance } from './broker-conformance.ts';
import { createManualClock } from './harness.ts';

/** A machine that is busy with other tests is no failure of the driver. */
const PUBLISH_TIMEOUT_MS = 30_000;

let redis: RedisProcess;
let clusters = 0;

beforeAll(async () => {
  redis = await startRedis();
});

afterAll(async () => {
  await redis.stop();
});

describeBrokerConformance('Redis driver', {
  windows: 'server clock',
  openCluster() {
    const clock = createManualClock();
    const prefix = `conformance-${(clusters += 1)}`;
    const brokers: Broker[] = [];
    return Promise.resolve({
      clock,
      createBroker(node, options = {}) {
        const broker = createRedisBroker({
          url: redis.url,
          prefix,
          node,
          clock,
          publishTimeoutMs: PUBLISH_TIMEOUT_MS,
          ...options,
        });
        brokers.push(broker);
        return broker;
      },
      async [Symbol.asyncDispose]() {
        for (const broker of brokers) await broker.close();
      },
    });
  },
});
