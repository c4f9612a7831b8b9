// Runs one gateway node as a process of its own, from source or from the build.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { freePort } from './free-port.ts';
import { type ProcessExit, startProcess } from './process.ts';

/** `source` runs gateway/main.ts through tsx; `built` runs dist/gateway/main.js, as in production. */
export type NodeEntry = 'source' | 'built';

export interface NodeOptions {
  readonly name: string;
  /** A free port when absent. */
  readonly port?: number;
  /** Second listener (`WEIR_INTERNAL_PORT`): server API, health and metrics leave the first one. */
  readonly internalPort?: number;
  /** Shares channels through this Redis; the embedded memory broker when absent. */
  readonly redisUrl?: string;
  /** Secret of the API key called `dev`. */
  readonly apiKey: string;
  readonly entry?: NodeEntry;
  /** Further environment; wins over ours. No other `WEIR_…` variable of this process reaches the node. */
  readonly env?: Readonly<Record<string, string>>;
  /** Command line arguments of the node. */
  readonly args?: readonly string[];
  /** Arguments of Node itself, as `--max-old-space-size=512`; they win over ours. */
  readonly nodeArgs?: readonly string[];
  /** Put before the command, as `['taskset', '-c', '0']`; it must replace itself by the command. */
  readonly prefix?: readonly string[];
  /** How long it may take until it is ready (20 s). */
  readonly readyTimeoutMs?: number;
  readonly onLine?: (line: string) => void;
}

export interface NodeProcess extends AsyncDisposable {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly internalPort?: number;
  readonly pid: number;
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly exited: Promise<ProcessExit>;
  exit(): ProcessExit | undefined;
  lastOutput(): string;
  /** SIGTERM, so that it drains; SIGKILL after `timeoutMs` (10 s). */
  stop(timeoutMs?: number): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

const STOP_TIMEOUT_MS = 10_000;

/** The folder that holds package.json, also when this file runs from the build. */
export function projectRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no package.json above ${import.meta.dirname}`);
    folder = parent;
  }
  return folder;
}

/** Of Node itself, as in deploy/: one helper thread of V8, a small young generation, and an old one that is seldom collected (docs/adr/0024, 0025, 0028). */
export const BUILT_NODE_ARGUMENTS = [
  '--v8-pool-size=1',
  '--max-semi-space-size=8',
  '--no-allocation-site-pretenuring',
  '--initial-old-space-size=48',
] as const;

function nodeArguments(entry: NodeEntry, further: readonly string[]): string[] {
  return entry === 'built'
    ? [...BUILT_NODE_ARGUMENTS, ...further, join('dist', 'gateway', 'main.js')]
    : [...further, '--import', 'tsx', join('gateway', 'main.ts')];
}

function environment(options: NodeOptions, port: number): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith('WEIR_'));
  return {
    ...Object.fromEntries(inherited),
    WEIR_PROFILE: 'development',
    WEIR_HOST: '127.0.0.1',
    WEIR_PORT: String(port),
    WEIR_NODE_NAME: options.name,
    WEIR_API_KEYS: `dev=${options.apiKey}`,
    WEIR_LOG_FORMAT: 'json',
    WEIR_TRUSTED_PROXIES: '127.0.0.1',
    ...(options.internalPort === undefined ? {} : { WEIR_INTERNAL_PORT: String(options.internalPort) }),
    ...(options.redisUrl === undefined ? {} : { WEIR_BROKER: 'redis', WEIR_REDIS_URL: options.redisUrl }),
    ...options.env,
  };
}

async function isReady(healthUrl: string): Promise<boolean> {
  const response = await fetch(healthUrl, { signal: AbortSignal.timeout(1_000) });
  await response.arrayBuffer();
  return response.status === 200;
}

/** Resolves when the node answers 200 at /health/ready. */
export async function startNode(options: NodeOptions): Promise<NodeProcess> {
  const port = options.port ?? (await freePort());
  const { name, internalPort } = options;
  const command = [
    ...(options.prefix ?? []),
    process.execPath,
    ...nodeArguments(options.entry ?? 'source', options.nodeArgs ?? []),
    ...(options.args ?? []),
  ];
  const healthUrl = `http://127.0.0.1:${internalPort ?? port}/health/ready`;
  const running = await startProcess({
    name,
    command: command[0] ?? process.execPath,
    args: command.slice(1),
    cwd: projectRoot(),
    env: environment(options, port),
    readyWhen: () => isReady(healthUrl),
    readyTimeoutMs: options.readyTimeoutMs,
    onLine: options.onLine,
  });
  const stop = (timeoutMs = STOP_TIMEOUT_MS): Promise<void> => running.stop(timeoutMs);
  return {
    name,
    host: '127.0.0.1',
    port,
    ...(internalPort === undefined ? {} : { internalPort }),
    pid: running.pid,
    url: `http://127.0.0.1:${port}`,
    exited: running.exited,
    exit: running.exit,
    lastOutput: running.lastOutput,
    stop,
    kill: running.kill,
    [Symbol.asyncDispose]: () => stop(),
  };
}
