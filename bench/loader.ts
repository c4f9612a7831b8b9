// Builds the load generator with Go and runs it, one process per measured step.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { Value } from '@sinclair/typebox/value';
import { whenThisProcessDies } from '../loadbalancer/cluster/parent-death.ts';
import type { Static, TSchema } from '@sinclair/typebox';
import {
  type LoadConfig,
  type LoadResult,
  loadResultSchema,
  type ReturnResult,
  returnResultSchema,
  type SlowResult,
  slowResultSchema,
} from './load-types.ts';

const run = promisify(execFile);

/** Made by the bench, ignored by git. */
export const BUILD_DIRECTORY = join(import.meta.dirname, 'results', 'build');
/** Opening, publishing and draining are bounded inside the load generator; this is for one that hangs. */
const RUN_TIMEOUT_MS = 180_000;

/** Why Go: one core of Node follows about 1 M raw deliveries/s and opens 7 000 connections/s, fewer than what is measured. */
const GO_MISSING =
  'The load generator of the bench is written in Go and the command "go" was not found. ' +
  'Install Go 1.19 or newer: apt-get install golang-go (Debian, Ubuntu), brew install go (macOS), or https://go.dev/dl';

const isMissingCommand = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** Compiles `load/` and resolves with the path of the binary. Throws with a hint when Go is missing. */
export const buildLoader = async (): Promise<string> => {
  if (process.platform !== 'linux') throw new Error('the load generator uses epoll and runs on Linux only');
  await mkdir(BUILD_DIRECTORY, { recursive: true });
  const binary = join(BUILD_DIRECTORY, 'load');
  try {
    await run('go', ['build', '-o', binary, '.'], { cwd: join(import.meta.dirname, 'load') });
  } catch (error) {
    throw isMissingCommand(error) ? new Error(GO_MISSING, { cause: error }) : error;
  }
  return binary;
};

export type Loader = (config: LoadConfig) => Promise<LoadResult>;

const startLoader = (binary: string) => {
  const child = spawn(binary, { stdio: ['pipe', 'pipe', 'inherit'] });
  const forget = whenThisProcessDies(() => child.kill('SIGKILL'));
  const bound = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
  child.on('close', () => {
    forget();
    clearTimeout(bound);
  });
  child.stdin.on('error', () => undefined); // it died before reading: 'close' tells
  return child;
};

const parseResult = <T extends TSchema>(schema: T, text: string): Static<T> => {
  try {
    return Value.Parse(schema, JSON.parse(text));
  } catch (error) {
    throw new Error('the load generator wrote something else than a result', { cause: error });
  }
};

/** Runs the load generator; rejects when it fails, writes something else than the schema says, or hangs. */
const runLoader = async <T extends TSchema>(binary: string, schema: T, config: LoadConfig): Promise<Static<T>> => {
  const child = startLoader(binary);
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stdin.end(JSON.stringify(config));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  if (code !== 0) throw new Error(`the load generator ended with ${signal ?? `exit code ${String(code)}`}`);
  return parseResult(schema, Buffer.concat(output).toString());
};

/** Runs one load. */
export const createLoader =
  (binary: string): Loader =>
  (config) =>
    runLoader(binary, loadResultSchema, config);

/** Holds slow readers open beside a load. `config.slow` says which. */
export const holdSlowReaders = (binary: string, config: LoadConfig): Promise<SlowResult> =>
  runLoader(binary, slowResultSchema, config);

/** Clients that lose their node. */
export interface ReturningClients extends AsyncDisposable {
  /** Everything was published up to `head`, and their node is gone: they come back. Resolves when each has it, or gave up. */
  comeBack(head: number): Promise<ReturnResult>;
}

/** Opens clients of channel `c0` that will lose their node; resolves when all are subscribed. `config.return` says where they go. */
export const openReturning = async (binary: string, config: LoadConfig): Promise<ReturningClients> => {
  const child = startLoader(binary);
  const closed = once(child, 'close');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => {
    const line = await Promise.race([lines.next(), closed.then(() => undefined)]);
    if (line === undefined || line.done === true) throw new Error('the load generator ended before it answered');
    return line.value;
  };
  child.stdin.write(`${JSON.stringify(config)}\n`);
  await nextLine();
  return {
    async comeBack(head) {
      child.stdin.write(`${JSON.stringify({ head })}\n`);
      return parseResult(returnResultSchema, await nextLine());
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await closed;
    },
  };
};
