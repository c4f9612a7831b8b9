// Runs a real HAProxy with the configuration of the template, in the foreground and in one process.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { renderHaproxyConfig } from '../haproxy-config.ts';
import {
  type BalanceProfile,
  CLIENT_BACKEND,
  connectionLimit,
  type HaproxyOptions,
  type NodeAddress,
  SERVER_BACKEND,
} from '../haproxy-options.ts';
import { applyMembership, type MembershipResult } from '../membership.ts';
import { createRuntimeApi, type RuntimeApi, type Slot } from '../runtime-api.ts';
import { freePort } from './free-port.ts';
import { type ProcessExit, startProcess } from './process.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const DEFAULT_SLOTS = 16;
/** HAProxy reserves memory for each connection it may hold; a local cluster needs no more than this. */
const MAX_LOCAL_CONNECTIONS = 100_000;
const NODES_UP_TIMEOUT_MS = 10_000;
const POLL_MS = 20;

export interface LocalHaproxyOptions {
  /** Public listener; a free port when absent. */
  readonly port?: number;
  readonly internalPort?: number;
  readonly statsPort?: number;
  readonly balance?: BalanceProfile;
  /** Nodes it can hold (16). */
  readonly slots?: number;
  /** Any option of the template, over what a local run sets. */
  readonly config?: Partial<HaproxyOptions>;
  readonly onLine?: (line: string) => void;
}

export interface HaproxyProcess extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  /** Where clients connect: `http://127.0.0.1:<port>`. */
  readonly publicUrl: string;
  /** Server API, console, metrics of a node. */
  readonly apiUrl: string;
  /** Statistics page; its `/metrics` is for Prometheus. */
  readonly statsUrl: string;
  readonly runtime: RuntimeApi;
  /** Path of the socket of the Runtime API. */
  readonly runtimeSocket: string;
  readonly exited: Promise<ProcessExit>;
  lastOutput(): string;
  /** Makes these nodes, and no others, take new sessions; resolves when each wanted node is up in both backends. */
  setNodes(nodes: readonly NodeAddress[]): Promise<MembershipResult>;
  /** Resolves when each of these nodes is up in both backends, whoever put it there. */
  nodesUp(nodes: readonly NodeAddress[]): Promise<void>;
  stop(): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

/** Descriptors a process started from here may open at most. */
async function openFileLimit(): Promise<number> {
  const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -Hn']);
  const limit = Number(stdout.trim());
  return Number.isFinite(limit) ? limit : Number.MAX_SAFE_INTEGER;
}

export async function startHaproxy(options: LocalHaproxyOptions = {}): Promise<HaproxyProcess> {
  const port = options.port ?? (await freePort());
  const internalPort = options.internalPort ?? (await freePort());
  const statsPort = options.statsPort ?? (await freePort());
  const slots = options.slots ?? DEFAULT_SLOTS;
  const directory = await temporaryDirectory('haproxy');
  const runtimeSocket = options.config?.runtimeSocket ?? join(directory.path, 'admin.sock');
  const runtime = createRuntimeApi(runtimeSocket);
  const process = await (async () => {
    const configFile = join(directory.path, 'haproxy.cfg');
    const config = renderHaproxyConfig({
      nodes: { kind: 'runtime', slots },
      runtimeSocket,
      agentCheck: { intervalMs: 400 },
      publicBind: `127.0.0.1:${port}`,
      internalBind: `127.0.0.1:${internalPort}`,
      statsBind: `127.0.0.1:${statsPort}`,
      maxConnections: Math.min(MAX_LOCAL_CONNECTIONS, connectionLimit(await openFileLimit(), slots)),
      // All clients of a local run share one address, and its nodes come and go quickly.
      perSource: 'off',
      checkIntervalMs: 400,
      slowstartMs: 0,
      balance: options.balance,
      ...options.config,
    });
    await writeFile(configFile, config);
    return startProcess({
      name: `haproxy (port ${port})`,
      command: 'haproxy',
      args: ['-db', '-f', configFile],
      // It listens before it answers here; the pid tells it from an older one.
      readyWhen: async (pid) => (await runtime.command('show info')).includes(`\nPid: ${pid}\n`),
      installHint: 'apt-get install haproxy (Debian, Ubuntu) or brew install haproxy (macOS)',
      onLine: options.onLine,
    });
  })().catch(async (error: unknown) => {
    await directory.remove();
    throw error;
  });
  void process.exited.then(directory.remove);
  const stop = async (): Promise<void> => {
    await process.stop();
    await directory.remove();
  };
  return {
    pid: process.pid,
    port,
    publicUrl: `http://127.0.0.1:${port}`,
    apiUrl: `http://127.0.0.1:${internalPort}`,
    statsUrl: `http://127.0.0.1:${statsPort}`,
    runtime,
    runtimeSocket,
    exited: process.exited,
    lastOutput: process.lastOutput,
    setNodes: async (nodes) => {
      const result = await applyMembership(runtime, nodes);
      if (result.refused.length > 0) throw new Error(`haproxy: ${result.refused.join('; ')}`);
      if (result.unplaced.length > 0) throw new Error(`haproxy: no free slot for ${result.unplaced.join(', ')}`);
      await allUp(runtime, nodes);
      return result;
    },
    nodesUp: (nodes) => allUp(runtime, nodes),
    stop,
    kill: process.kill,
    [Symbol.asyncDispose]: stop,
  };
}

async function allUp(runtime: RuntimeApi, nodes: readonly NodeAddress[]): Promise<void> {
  const deadline = performance.now() + NODES_UP_TIMEOUT_MS;
  const serves = (slots: readonly Slot[], host: string, port: number): boolean =>
    slots.some(
      (slot) =>
        slot.host === host &&
        slot.port === port &&
        slot.admin === 'ready' &&
        (slot.operational === 'up' || slot.operational === 'starting'),
    );
  for (;;) {
    const clients = await runtime.slots(CLIENT_BACKEND);
    const servers = await runtime.slots(SERVER_BACKEND);
    const missing = nodes.filter(
      ({ host, port, internalPort }) => !serves(clients, host, port) || !serves(servers, host, internalPort ?? port),
    );
    if (missing.length === 0) return;
    if (performance.now() > deadline) {
      const names = missing.map((node) => `${node.name} (${node.host}:${node.port})`).join(', ');
      throw new Error(`haproxy: not up after ${NODES_UP_TIMEOUT_MS} ms: ${names}`);
    }
    await pause(POLL_MS);
  }
}
