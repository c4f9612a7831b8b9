// Keeps the measured server and everything else (load generator, Redis, this process) on different cores.
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Pinning {
  /** Put before the command of a server. */
  readonly serverPrefix: readonly string[];
  /** One sentence for the report. */
  readonly description: string;
}

const SERVER_CORE = '0';
const LOAD_CORE = '1';

/** Moves this process, and so its future children, to the load core; unpinned where that cannot be done. */
export const pinBench = async (): Promise<Pinning> => {
  if (availableParallelism() < 2) return { serverPrefix: [], description: 'unpinned: one core only' };
  try {
    await run('taskset', ['-a', '-c', '-p', LOAD_CORE, String(process.pid)]);
  } catch {
    return { serverPrefix: [], description: 'unpinned: taskset is not available' };
  }
  return {
    serverPrefix: ['taskset', '-c', SERVER_CORE],
    description: `server on core ${SERVER_CORE}; load generator and Redis on core ${LOAD_CORE}`,
  };
};
