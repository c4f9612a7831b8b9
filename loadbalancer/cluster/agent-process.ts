// Runs one balancer agent as a process of its own, from source or from the build.
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { type NodeEntry, projectRoot } from './node-process.ts';
import { type ProcessExit, startProcess } from './process.ts';

export interface AgentProcessOptions {
  readonly redisUrl: string;
  /** Socket of HAProxy's Runtime API. */
  readonly haproxySocket: string;
  readonly entry?: NodeEntry;
  /** Further environment; wins over ours. No other `WEIR_…` variable of this process reaches the agent. */
  readonly env?: Readonly<Record<string, string>>;
  readonly onLine?: (line: string) => void;
}

export interface AgentProcess extends AsyncDisposable {
  readonly pid: number;
  /** `http://127.0.0.1:<port>`: `/health` and `/metrics`. */
  readonly url: string;
  readonly exited: Promise<ProcessExit>;
  lastOutput(): string;
  stop(): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

/** Between two looks of a local agent, ms: what one starts by hand is seen at once. */
const LOCAL_INTERVAL_MS = 100;

const isLive = async (url: string): Promise<boolean> => {
  const response = await fetch(`${url}/health/live`, { signal: AbortSignal.timeout(1_000) });
  await response.arrayBuffer();
  return response.ok;
};

/** Resolves when it answers at /health/live; whether it follows is for /health/ready to say. */
export async function startAgent(options: AgentProcessOptions): Promise<AgentProcess> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('WEIR_'));
  const built = options.entry === 'built';
  const running = await startProcess({
    name: `balancer agent (port ${port})`,
    command: process.execPath,
    args: built ? [join('dist', 'loadbalancer', 'agent.js')] : ['--import', 'tsx', join('loadbalancer', 'agent.ts')],
    cwd: projectRoot(),
    env: {
      ...Object.fromEntries(inherited),
      WEIR_AGENT_REDIS_URL: options.redisUrl,
      WEIR_AGENT_HAPROXY_SOCKET: options.haproxySocket,
      WEIR_AGENT_PORT: String(port),
      WEIR_AGENT_INTERVAL_MS: String(LOCAL_INTERVAL_MS),
      ...options.env,
    },
    readyWhen: () => isLive(url),
    onLine: options.onLine,
  });
  const stop = (): Promise<void> => running.stop();
  return {
    pid: running.pid,
    url,
    exited: running.exited,
    lastOutput: running.lastOutput,
    stop,
    kill: running.kill,
    [Symbol.asyncDispose]: stop,
  };
}
