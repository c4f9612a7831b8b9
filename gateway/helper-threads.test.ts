import { execFile } from 'node:child_process';
import { getPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

import { helpersAmong, inOrderOfStart } from './helper-threads.ts';

const run = promisify(execFile);

const threads = (...names: string[]) => names.map((name, index) => ({ id: 100 + index, name }));

/** Prints the niceness of each thread, in the order in which they were started, after the helpers were told to yield. */
const PROGRAM = `
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { inOrderOfStart, yieldHelpersToLoop } from ${JSON.stringify(fileURLToPath(new URL('helper-threads.ts', import.meta.url)))};
// Starts the workers of libuv, which are no helpers of V8.
await Promise.all(Array.from({ length: 8 }, () => readFile('/proc/self/stat')));
const yielding = yieldHelpersToLoop();
const niceness = inOrderOfStart(readdirSync('/proc/self/task').map(Number), process.pid).map((id) =>
  Number(readFileSync('/proc/self/task/' + id + '/stat', 'utf8').split(') ')[1].split(' ')[16]));
console.log(JSON.stringify({ yielding, niceness }));
`;

const nicenessOfThreads = async () => {
  const { stdout } = await run(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', PROGRAM]);
  return JSON.parse(stdout) as { readonly yielding: number; readonly niceness: readonly number[] };
};

describe('the helper threads', () => {
  it.runIf(process.platform === 'linux')(
    'yield to the event loop; the loop and all others stay as they are',
    async () => {
      const { yielding, niceness } = await nicenessOfThreads();
      const [loop = 0, ...others] = niceness;
      expect(loop).toBe(getPriority());
      expect(yielding).toBeGreaterThanOrEqual(4);
      expect(others.map((nice) => nice > loop)).toEqual(others.map((_, index) => index < yielding));
      // At least the four of libuv.
      expect(others.filter((nice) => nice === loop).length).toBeGreaterThanOrEqual(4);
    },
  );

  it('are found by their names', () => {
    expect(helpersAmong(threads('node', 'DelayedTaskSche', 'node-V8Worker', 'node-V8Worker', 'libuv'), '')).toEqual([
      101, 102, 103,
    ]);
    expect(helpersAmong(threads('node', 'DelayedTaskSche', 'V8Worker', 'V8Worker', 'libuv-worker'), '')).toEqual([
      101, 102, 103,
    ]);
  });

  it('are found by their place where they have no name of their own', () => {
    expect(helpersAmong(threads(...Array.from({ length: 11 }, () => 'node')), '')).toEqual([101, 102, 103, 104, 105]);
  });

  it('come after the event loop also where the ids of threads began again', () => {
    expect(inOrderOfStart([2, 3, 32_766, 32_767], 32_766)).toEqual([32_766, 32_767, 2, 3]);
  });

  it('are as many as the command line says, else the environment', () => {
    const unnamed = threads(...Array.from({ length: 11 }, () => 'node'));
    expect(helpersAmong(unnamed, '--v8-pool-size=1')).toEqual([101, 102]);
    expect(helpersAmong(unnamed, '--v8-pool-size=1 --v8_pool_size 2')).toEqual([101, 102, 103]);
  });

  it('are left alone where nothing tells them from others', () => {
    const unnamed = threads(...Array.from({ length: 11 }, () => 'node'));
    expect(helpersAmong(unnamed, '--v8-pool-size=0')).toEqual([]);
  });
});
