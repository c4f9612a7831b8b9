// Runs one child process: starts it, waits for a condition, keeps its last output, and ends it by its pid.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { whenThisProcessDies } from './parent-death.ts';

/** Lines of output kept for error messages. */
const KEPT_LINES = 40;
const READY_POLL_MS = 15;
const DEFAULT_READY_TIMEOUT_MS = 20_000;
const DEFAULT_STOP_TIMEOUT_MS = 5_000;

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  /** Short name used in messages: `redis`, `node-1`, `haproxy`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the child; the parent's when absent. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Asked again and again until it answers true; an exception counts as "not yet". Absent: ready once spawned. */
  readonly readyWhen?: (pid: number) => Promise<boolean>;
  readonly readyTimeoutMs?: number;
  /** How to install the command, for the error when it is missing. */
  readonly installHint?: string;
  /** Called with each line of output, both streams. */
  readonly onLine?: (line: string) => void;
}

export interface RunningProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Resolves (never rejects) when the process is gone, whoever ended it. */
  readonly exited: Promise<ProcessExit>;
  /** Undefined while it runs. */
  exit(): ProcessExit | undefined;
  /** The last lines the process wrote, oldest first. */
  lastOutput(): string;
  /** Sends one signal and returns; nothing happens when the process is gone. */
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after `timeoutMs` (5 s); resolves when the process is gone. Safe to call twice. */
  stop(timeoutMs?: number): Promise<void>;
}

/** Thrown when a process could not be started, ended before it was ready, or was not ready in time. */
export class ProcessStartError extends Error {
  override readonly name = 'ProcessStartError';
}

/** `exit code 1` or `signal SIGKILL`. */
export function describeExit(exit: ProcessExit): string {
  return exit.signal === null ? `exit code ${String(exit.code)}` : `signal ${exit.signal}`;
}

function withOutput(text: string, output: string): string {
  return output === '' ? `${text} (it wrote nothing)` : `${text}; its last output:\n${output}`;
}

/** Debian keeps servers in /usr/sbin, which is not on the PATH of every user. */
export function withSystemFolders(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, PATH: `${env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin` };
}

/**
 * Starts a child in a process group of its own, so that Ctrl-C in a terminal reaches only the parent, which then
 * ends its children in the right order. Resolves when `readyWhen` answers true.
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const { name, command } = options;
  const lines: string[] = [];
  const child = spawn(command, [...options.args], {
    cwd: options.cwd,
    env: withSystemFolders(options.env ?? process.env),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      options.onLine?.(line);
    });
  }
  const pid = child.pid;
  if (pid === undefined) {
    const cause = await new Promise<NodeJS.ErrnoException>((resolve) => child.once('error', resolve));
    const hint = options.installHint === undefined ? '' : `; install it with: ${options.installHint}`;
    const reason = cause.code === 'ENOENT' ? `command "${command}" was not found${hint}` : cause.message;
    throw new ProcessStartError(`${name}: ${reason}`, { cause });
  }

  let ended: ProcessExit | undefined;
  const forget = whenThisProcessDies(() => {
    // The group, so that grandchildren go too.
    process.kill(-pid, 'SIGKILL');
  });
  // 'close' follows 'exit' once both streams are read to the end, so the last output is complete; a grandchild that
  // holds the streams must not delay it for ever, hence the bound after 'exit'.
  const exited = new Promise<ProcessExit>((resolve) => {
    const finish = (code: number | null, signal: NodeJS.Signals | null): void => {
      forget();
      ended ??= { code, signal };
      resolve(ended);
    };
    child.once('close', finish);
    child.once('exit', (code, signal) => {
      setTimeout(finish, 500, code, signal).unref();
    });
  });
  child.on('error', (error) => lines.push(error.message));

  const kill = (signal: NodeJS.Signals): void => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  };
  const stop = async (timeoutMs = DEFAULT_STOP_TIMEOUT_MS): Promise<void> => {
    if (ended !== undefined) return;
    kill('SIGTERM');
    // A stopped (SIGSTOP) process takes no SIGTERM until it goes on.
    kill('SIGCONT');
    const bound = setTimeout(() => {
      kill('SIGKILL');
    }, timeoutMs);
    await exited;
    clearTimeout(bound);
  };

  const running: RunningProcess = {
    name,
    pid,
    exited,
    exit: () => ended,
    lastOutput: () => lines.join('\n'),
    kill,
    stop,
    [Symbol.asyncDispose]: () => stop(),
  };
  await waitUntilReady(running, options);
  return running;
}

async function waitUntilReady(running: RunningProcess, options: ProcessOptions): Promise<void> {
  const { readyWhen, readyTimeoutMs = DEFAULT_READY_TIMEOUT_MS } = options;
  if (readyWhen === undefined) return;
  const deadline = performance.now() + readyTimeoutMs;
  const gone = running.exited.then(() => 'gone' as const);
  const late = pause(readyTimeoutMs, 'late' as const, { ref: false });
  for (;;) {
    const answer = readyWhen(running.pid).then(
      (ready) => (ready ? ('ready' as const) : ('not yet' as const)),
      () => 'not yet' as const,
    );
    const outcome = await Promise.race([gone, answer, late]);
    if (outcome === 'ready' && running.exit() === undefined) return;
    if (outcome === 'gone' || running.exit() !== undefined) {
      const exit = await running.exited;
      throw new ProcessStartError(
        withOutput(`${running.name}: ended before it was ready (${describeExit(exit)})`, running.lastOutput()),
      );
    }
    if (performance.now() >= deadline) {
      await running.stop(1_000);
      throw new ProcessStartError(
        withOutput(`${running.name}: not ready after ${readyTimeoutMs} ms`, running.lastOutput()),
      );
    }
    await pause(READY_POLL_MS);
  }
}
