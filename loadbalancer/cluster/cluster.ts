// Starts a whole cluster on this machine: one Redis, the nodes, HAProxy in front of them, and the agent that tells it of them.
import { randomBytes } from 'node:crypto';
import type { BalanceProfile, HaproxyOptions } from '../haproxy-options.ts';
import { type AgentProcess, startAgent } from './agent-process.ts';
import { type HaproxyProcess, startHaproxy } from './haproxy-process.ts';
import { type NodeEntry, type NodeProcess, startNode } from './node-process.ts';
import { type RedisProcess, startRedis } from './redis-process.ts';

export interface ClusterOptions {
  readonly nodes: number;
  readonly redisPort?: number;
  /** Ports of the nodes in order; free ones where absent. */
  readonly ports?: readonly number[];
  /** Public port of HAProxy. */
  readonly haproxyPort?: number;
  /** Port of HAProxy's internal listener: server API, console. */
  readonly haproxyInternalPort?: number;
  readonly haproxyStatsPort?: number;
  readonly entry?: NodeEntry;
  /** Further environment of every node. */
  readonly env?: Readonly<Record<string, string>>;
  /** Further environment of the balancer agent. */
  readonly agentEnv?: Readonly<Record<string, string>>;
  readonly balance?: BalanceProfile;
  /** Secret of the API key; random when absent. */
  readonly apiKey?: string;
  /** Put before each node's command, as `['taskset', '-c', '0']`. */
  readonly nodePrefix?: readonly string[];
  readonly haproxyConfig?: Partial<HaproxyOptions>;
}

export interface Cluster extends AsyncDisposable {
  readonly redis: RedisProcess;
  /** Every node started, in order, also those that ended since; one started again takes the place of the former. */
  readonly nodes: readonly NodeProcess[];
  readonly haproxy: HaproxyProcess;
  /** Follows the registry of nodes in Redis and fills the slots of HAProxy. */
  readonly agent: AgentProcess;
  /** For clients, through HAProxy: `http://127.0.0.1:<port>`. */
  readonly publicUrl: string;
  /** For backends and operators, through HAProxy's internal listener. */
  readonly apiUrl: string;
  /** `ws://127.0.0.1:<port>/v1/ws`, through HAProxy. */
  readonly wsUrl: string;
  readonly apiKey: string;
  /** Starts one more node; resolves when HAProxy sends to it. */
  addNode(): Promise<NodeProcess>;
  /** Stops a node so that it drains, starts it again at its address, and resolves when HAProxy sends to it. */
  restartNode(name: string): Promise<NodeProcess>;
  /** Nodes first, so that they drain while their clients can still be told; then the others. */
  stop(): Promise<void>;
}

const MIN_SLOTS = 16;
/** Longer than the drain timeout of a node, so that what ends it is the node itself. */
const RESTART_TIMEOUT_MS = 40_000;

/** Waits for all, also when one fails, so that whatever did start is known and can be stopped. */
async function startAll<T extends { stop(): Promise<void> }>(starts: readonly Promise<T>[]): Promise<T[]> {
  const outcomes = await Promise.allSettled(starts);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  const started = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  if (failed === undefined) return started;
  await Promise.all(started.map((one) => one.stop()));
  throw failed.reason;
}

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const apiKey = options.apiKey ?? randomBytes(18).toString('base64url');
  const nodes: NodeProcess[] = [];
  const redis = await startRedis({ port: options.redisPort });
  let haproxy: HaproxyProcess | undefined;
  let agent: AgentProcess | undefined;

  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
    await Promise.all([agent?.stop(), haproxy?.stop()]);
    await redis.stop();
  };
  const start = (index: number, port = options.ports?.[index]): Promise<NodeProcess> =>
    startNode({
      name: `node-${index + 1}`,
      port,
      redisUrl: redis.url,
      apiKey,
      entry: options.entry,
      env: options.env,
      prefix: options.nodePrefix,
    });

  try {
    haproxy = await startHaproxy({
      port: options.haproxyPort,
      internalPort: options.haproxyInternalPort,
      statsPort: options.haproxyStatsPort,
      // Room for as many again, so that nodes can be replaced while the old ones drain.
      slots: Math.max(MIN_SLOTS, 2 * options.nodes),
      balance: options.balance,
      config: options.haproxyConfig,
    });
    const balancer = haproxy;
    const [starting, following] = await Promise.allSettled([
      startAll(Array.from({ length: options.nodes }, (_, index) => start(index))),
      startAgent({
        redisUrl: redis.url,
        haproxySocket: balancer.runtimeSocket,
        entry: options.entry,
        env: options.agentEnv,
      }),
    ]);
    if (starting.status === 'fulfilled') nodes.push(...starting.value);
    if (following.status === 'rejected') throw following.reason;
    agent = following.value;
    if (starting.status === 'rejected') throw starting.reason;
    await balancer.nodesUp(nodes);
    return {
      redis,
      nodes,
      haproxy: balancer,
      agent,
      publicUrl: balancer.publicUrl,
      apiUrl: balancer.apiUrl,
      wsUrl: `${balancer.publicUrl.replace('http:', 'ws:')}/v1/ws`,
      apiKey,
      addNode: async () => {
        const node = await start(nodes.length);
        nodes.push(node);
        await balancer.nodesUp([node]);
        return node;
      },
      restartNode: async (name) => {
        const index = nodes.findIndex((node) => node.name === name);
        const old = nodes[index];
        if (old === undefined) throw new Error(`no node is called ${name}`);
        await old.stop(RESTART_TIMEOUT_MS);
        const node = await start(index, old.port);
        nodes[index] = node;
        await balancer.nodesUp([node]);
        return node;
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
