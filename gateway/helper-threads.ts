// V8's compiler and garbage collector work on helper threads. Where these share a core with the event loop (a node per core,
// a container of one), the kernel gives each of them as much of it as the loop: three that mark the heap held the loop up
// for 20 ms at a time. They are not in a hurry, clients are: they get less.
import { readdirSync, readFileSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';

/** By how much nicer than the loop: a tenth of what it may have. With less, a node that starts under load compiles for minutes. */
const NICER_BY = 10;
/** As newer releases of Node.js name them; the kernel keeps 15 characters. */
const WORKER_NAME = /^(node-)?V8Worker/;
const SCHEDULER_NAME = /^(node-)?DelayedTask/;
/** Before that: what it starts first are a scheduler and the workers. */
const SCHEDULERS = 1;
const POOL_SIZE = /--v8[-_]pool[-_]size[= ](\d+)/g;
const DEFAULT_POOL_SIZE = 4;

interface Thread {
  readonly id: number;
  readonly name: string;
}

/**
 * Which of the threads of a process are V8's.
 * @param threads in the order in which they were started; the first is the event loop
 * @param options of Node.js, from the environment and then from the command line, which counts
 * @returns ids; none where they cannot be told from others
 */
export const helpersAmong = (threads: readonly Thread[], options: string): number[] => {
  if (threads.some(({ name }) => WORKER_NAME.test(name))) {
    return threads.filter(({ name }) => WORKER_NAME.test(name) || SCHEDULER_NAME.test(name)).map(({ id }) => id);
  }
  const poolSize = Number([...options.matchAll(POOL_SIZE)].at(-1)?.[1] ?? DEFAULT_POOL_SIZE);
  // 0: as many as Node.js finds fit.
  if (poolSize === 0) return [];
  return threads.slice(1, 1 + SCHEDULERS + poolSize).map(({ id }) => id);
};

/**
 * Puts ids of threads into the order in which they were started.
 * @param loop id of the first, which is that of the process
 */
export const inOrderOfStart = (ids: readonly number[], loop: number): number[] =>
  // The kernel gives ids in ascending order, and after the highest begins again.
  [...ids].sort((left, right) => Number(left < loop) - Number(right < loop) || left - right);

const threadsOfThisProcess = (): Thread[] =>
  inOrderOfStart(readdirSync('/proc/self/task').map(Number), process.pid).map((id) => ({
    id,
    name: readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim(),
  }));

/**
 * Makes the helpers yield to the event loop; only Linux has a priority per thread.
 * @returns how many do from now on
 */
export const yieldHelpersToLoop = (): number => {
  if (process.platform !== 'linux') return 0;
  try {
    const options = [process.env['NODE_OPTIONS'] ?? '', ...process.execArgv].join(' ');
    const helpers = helpersAmong(threadsOfThisProcess(), options);
    const niceness = Math.min(constants.priority.PRIORITY_LOW, getPriority() + NICER_BY);
    for (const id of helpers) setPriority(id, niceness);
    return helpers.length;
  } catch {
    // A sandbox without /proc, or one that forbids it: the node runs as before.
    return 0;
  }
};
