// A real cluster whose every part can be broken by a step: node processes, HAProxy, and the Redis they share.
import { setTimeout as pause } from 'node:timers/promises';
import { type NodeProcess, startHaproxy, startNode } from '../support/index.ts';
import { createTurns, startFaultyRedis } from './faulty-redis.ts';
import { startFaultySentinel } from './faulty-sentinel.ts';
import type { Deployment, Step } from './scenario.ts';

export interface FaultyCluster extends AsyncDisposable {
  readonly wsUrl: string;
  /** Of the nodes; they keep their addresses over restarts. */
  readonly nodeUrls: readonly string[];
  readonly apiKey: string;
  /** Applies a step that does not concern clients; resolves when its effect is over. */
  apply(step: Step): Promise<void>;
}

const API_KEY = 'chaos';
const DRAIN_TIMEOUT_MS = 3_000;

export interface FaultyClusterOptions {
  readonly nodes: number;
  readonly deployment: Deployment;
  readonly entry: 'source' | 'built';
}

export const startFaultyCluster = async (options: FaultyClusterOptions): Promise<FaultyCluster> => {
  const endings: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of endings.splice(0).toReversed()) await end();
  };
  try {
    return await build(options, endings, stop);
  } catch (error) {
    await stop();
    throw error;
  }
};

const build = async (
  options: FaultyClusterOptions,
  endings: (() => Promise<void>)[],
  stop: () => Promise<void>,
): Promise<FaultyCluster> => {
  const redis =
    options.deployment === 'sentinel'
      ? await startFaultySentinel(endings)
      : await startFaultyRedis(options.nodes, endings);
  const haproxy = await startHaproxy();
  endings.push(haproxy.stop);

  const nodes: NodeProcess[] = [];
  const startOwnNode = (index: number, port?: number): Promise<NodeProcess> =>
    startNode({
      name: `node-${index + 1}`,
      ...(port === undefined ? {} : { port }),
      redisUrl: redis.urlOf(index),
      apiKey: API_KEY,
      entry: options.entry,
      env: { WEIR_DRAIN_TIMEOUT_MS: String(DRAIN_TIMEOUT_MS), WEIR_LOG_LEVEL: 'warn' },
      // It starts while Redis may be away.
      readyTimeoutMs: 60_000,
    });
  endings.push(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  });
  for (let index = 0; index < options.nodes; index += 1) nodes.push(await startOwnNode(index));
  await haproxy.setNodes(nodes);

  const inTurn = createTurns();
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
  const apply = async (step: Step): Promise<void> => {
    if (step.kind === 'roll-node')
      await inTurn(`node ${step.node}`, () => restartNode(step.node, (node) => node.stop(), 0));
    if (step.kind === 'kill-node') {
      const kill = (node: NodeProcess): Promise<unknown> => {
        node.kill('SIGKILL');
        return node.exited;
      };
      await inTurn(`node ${step.node}`, () => restartNode(step.node, kill, step.forMs));
    }
    await redis.apply(step);
  };
  return {
    wsUrl: `${haproxy.publicUrl.replace('http', 'ws')}/v1/ws`,
    nodeUrls: nodes.map(({ url }) => url),
    apiKey: API_KEY,
    apply,
    [Symbol.asyncDispose]: stop,
  };
};
