// Keeps the measured server on a core of its own; the load generator has the other, and with it the Redis of a server.
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Pinning {
  /** Put before the command of a server. */
  readonly serverPrefix: readonly string[];
  /** Put before the command of a process that may use every core. */
  readonly anyCorePrefix: readonly string[];
  /** Lets a process that this one started use every core. */
  readonly release: (pid: number) => Promise<void>;
  /** Puts the main thread of a process that this one started on the core of the server; the helpers of its garbage collector stay where they may be. */
  readonly mainToServer: (pid: number) => Promise<void>;
  /** One sentence for the report. */
  readonly description: string;
}

const SERVER_CORE = '0';
const LOAD_CORE = '1';

const nothing = (): Promise<void> => Promise.resolve();
const unpinned = { serverPrefix: [], anyCorePrefix: [], release: nothing, mainToServer: nothing } as const;

/** Moves this process, and so its future children, to the load core; unpinned where that cannot be done. */
export const pinBench = async (): Promise<Pinning> => {
  // Counted before this process is pinned: afterwards it would see one.
  const cores = availableParallelism();
  if (cores < 2) return { ...unpinned, description: 'unpinned: one core only' };
  try {
    await run('taskset', ['-a', '-c', '-p', LOAD_CORE, String(process.pid)]);
  } catch {
    return { ...unpinned, description: 'unpinned: taskset is not available' };
  }
  return {
    serverPrefix: ['taskset', '-c', SERVER_CORE],
    anyCorePrefix: ['taskset', '-c', `0-${cores - 1}`],
    release: async (pid) => {
      await run('taskset', ['-a', '-c', '-p', `0-${cores - 1}`, String(pid)]);
    },
    mainToServer: async (pid) => {
      await run('taskset', ['-c', '-p', SERVER_CORE, String(pid)]);
    },
    description: `server on core ${SERVER_CORE}, load generator and Redis on core ${LOAD_CORE}; HAProxy and clusters on either`,
  };
};
