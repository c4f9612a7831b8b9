// What processes got of the cores, and how long they were ready to run and had none, as the kernel counts it.
import { readFileSync } from 'node:fs';

/** Of the main thread of a process, in shares of the time that passed. */
export interface CoreUse {
  readonly ran: number;
  /** Ready to run, but others had the cores. */
  readonly waited: number;
}

interface Reading {
  readonly ranMs: number;
  readonly waitedMs: number;
}

/** Nothing where the kernel does not say, or the process is gone. */
const readOf = (pid: number): Reading => {
  try {
    const [ran = 0, waited = 0] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ').map(Number);
    return { ranMs: ran / 1e6, waitedMs: waited / 1e6 };
  } catch {
    return { ranMs: 0, waitedMs: 0 };
  }
};

/** Answers the use of each process since the last call, or since this one for the first. */
export const watchCores = (pids: readonly number[]): (() => readonly CoreUse[]) => {
  let before = pids.map(readOf);
  let sinceMs = performance.now();
  return () => {
    const now = pids.map(readOf);
    const nowMs = performance.now();
    const spanMs = Math.max(1, nowMs - sinceMs);
    const use = now.map(({ ranMs, waitedMs }, index) => ({
      ran: (ranMs - before[index]!.ranMs) / spanMs,
      waited: (waitedMs - before[index]!.waitedMs) / spanMs,
    }));
    before = now;
    sinceMs = nowMs;
    return use;
  };
};
