// Waits until replicas have what was published: one WAIT behind a group of calls, on their connection, answers for all.
//
// On their connection, because WAIT covers what its own connection has seen: an answer from another server than the one
// that appended, after a failover between the two, cannot be taken for it. A retry that appends nothing waits as well.
import type { Redis } from 'ioredis';
import { driverError } from './driver-error.ts';

/** Part of the publish timeout: a group waits behind another one, and its own wait ends before the callers' time. */
const TIMEOUT_SHARE = 0.4;
/** Below the silence after which a link counts as dead (link.ts): the connection answers nothing meanwhile. */
const MAX_WAIT_MS = 1_500;

/** Of what was sent on the connection before. Resolves with why too few replicas have it, else with undefined; never rejects. */
export type ReplicaWait = (redis: Redis) => Promise<Error | undefined>;

export const createReplicaWait = (minReplicas: number, publishTimeoutMs: number): ReplicaWait => {
  // Never 0, which would wait for ever.
  const waitMs = Math.max(1, Math.floor(Math.min(publishTimeoutMs * TIMEOUT_SHARE, MAX_WAIT_MS)));
  return async (redis) => {
    try {
      const reached = (await redis.wait(minReplicas, waitMs)) as unknown;
      if (typeof reached === 'number' && reached >= minReplicas) return undefined;
      return new Error(`${String(reached)} of ${minReplicas} replicas had a publication within ${waitMs} ms`);
    } catch (error) {
      return driverError(error);
    }
  };
};
