// Upstreams that announce themselves in a real Redis as nodes do, for tests of the balancer agent.
import type { BrokerEvents } from '../../broker/broker.ts';
import type { Json } from '../../broker/control.ts';
import type { NodeInfo } from '../../broker/node-info.ts';
import { createRedisBroker } from '../../broker/redis/redis-broker.ts';
import { type Follower, startFollower } from '../../loadbalancer/agent/follower.ts';
import type { HaproxyProcess } from '../../loadbalancer/cluster/haproxy-process.ts';
import type { RedisProcess } from '../../loadbalancer/cluster/redis-process.ts';
import { CLIENT_BACKEND } from '../../loadbalancer/haproxy-options.ts';
import { closeAfterTest, startUpstream, type Upstream } from './balanced-upstreams.ts';
import { waitFor } from './wait-for.ts';

/** Long enough for a busy machine to renew it, short enough for a test to see it end. */
const LEASE_MS = 1_500;
const ANNOUNCE_MS = 200;
const INTERVAL_MS = 50;
const ABSENCE_MS = 600;

export interface AnnouncedUpstream extends Upstream {
  /** Changes what it announces from now on. */
  tell(change: Partial<NodeInfo>): void;
  /** Stops announcing and answering without a word, as by kill -9. */
  vanish(): Promise<void>;
  /** Ends its lease, and answers as before. */
  unannounce(): Promise<void>;
  /** Ends its lease, then stops answering. */
  leave(): Promise<void>;
}

const silent: BrokerEvents = {
  onPublications: () => undefined,
  onEphemeral: () => undefined,
  onInterrupted: () => undefined,
  onRestored: () => undefined,
  onHealth: () => undefined,
  tails: () => [],
  onError: () => undefined,
};

export async function openRegistry(redis: Pick<RedisProcess, 'url'>, node: string) {
  const broker = createRedisBroker({ url: redis.url, prefix: 'weir', node, leaseMs: LEASE_MS });
  closeAfterTest(() => broker.close());
  await broker.start(silent);
  return broker;
}

/** An upstream, `change` over what it announces; a new one unless given. */
export async function startAnnounced(
  redis: Pick<RedisProcess, 'url'>,
  name: string,
  change: Partial<NodeInfo> = {},
  upstream?: Upstream,
): Promise<AnnouncedUpstream> {
  const served = upstream ?? (await startUpstream(name));
  const broker = await openRegistry(redis, name);
  let info: NodeInfo = {
    version: 'test',
    state: 'ready',
    ready: true,
    address: served.host,
    port: served.port,
    weight: 100,
    admissionPerSecond: 1_000,
    connections: 0,
    ...change,
  };
  const announce = (): void => {
    // Redis may be away, as in a real node.
    broker.control.announce(info as unknown as Json).catch(() => undefined);
  };
  announce();
  const timer = setInterval(announce, ANNOUNCE_MS);
  closeAfterTest(() => {
    clearInterval(timer);
    return Promise.resolve();
  });
  const unannounce = async (): Promise<void> => {
    clearInterval(timer);
    await broker.close();
  };
  return {
    name,
    host: served.host,
    port: served.port,
    get health() {
      return served.health;
    },
    set health(status: number) {
      served.health = status;
    },
    sockets: served.sockets,
    requests: served.requests,
    die: served.die,
    tell: (more) => {
      info = { ...info, ...more };
      announce();
    },
    vanish: async () => {
      clearInterval(timer);
      await served.die();
    },
    unannounce,
    leave: async () => {
      await unannounce();
      await served.die();
    },
  };
}

export interface Following extends Follower {
  readonly log: readonly string[];
  /** Resolves after so many more rounds at HAProxy that began after this call. */
  rounds(count: number): Promise<void>;
  /** Lets time pass for the agent alone. */
  advance(ms: number): void;
}

/** An agent in this process. */
export async function startFollowing(
  redis: Pick<RedisProcess, 'url'>,
  haproxy: Pick<HaproxyProcess, 'runtime'>,
): Promise<Following> {
  const broker = await openRegistry(redis, 'agent');
  const lines: string[] = [];
  const log = (fields: object, message: string): void => {
    lines.push(`${JSON.stringify(fields)} ${message}`);
  };
  let aheadMs = 0;
  let looks = 0;
  const follower = startFollower({
    registry: broker.control,
    runtime: {
      ...haproxy.runtime,
      slots: async (backend) => {
        if (backend === CLIENT_BACKEND) looks += 1;
        return haproxy.runtime.slots(backend);
      },
    },
    intervalMs: INTERVAL_MS,
    absenceMs: ABSENCE_MS,
    nowMs: () => performance.now() + aheadMs,
    log: { info: log, warn: log, error: log },
  });
  closeAfterTest(follower.stop);
  return {
    ...follower,
    log: lines,
    rounds: async (count) => {
      // One look more: the round that is under way began before.
      const enough = looks + count + 1;
      await waitFor(() => looks > enough, { description: `${count} rounds of the agent` });
    },
    advance: (ms) => {
      aheadMs += ms;
    },
  };
}
