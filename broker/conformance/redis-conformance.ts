// The conformance suite over the Redis driver, whatever kind of Redis a test file starts for it.
import { afterAll, beforeAll } from 'vitest';
import type { Broker } from '../broker.ts';
import { createRedisBroker } from '../redis/redis-broker.ts';
import { describeBrokerConformance } from './broker-conformance.ts';
import { createManualClock } from './harness.ts';

/** A machine that is busy with other tests is no failure of the driver. */
const PUBLISH_TIMEOUT_MS = 30_000;

/** Started once for all cases; each case has a prefix of its own. */
export const describeRedisConformance = (
  name: string,
  start: () => Promise<AsyncDisposable & { readonly url: string }>,
): void => {
  let redis: Awaited<ReturnType<typeof start>>;
  let clusters = 0;

  beforeAll(async () => {
    redis = await start();
  });

  afterAll(async () => {
    await redis[Symbol.asyncDispose]();
  });

  describeBrokerConformance(name, {
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
};
