// Builds the load generator with Go and runs it, one process per measured step.
import { execFile, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Value } from '@sinclair/typebox/value';
import { whenThisProcessDies } from '../loadbalancer/cluster/parent-death.ts';
import type { Static, TSchema } from '@sinclair/typebox';
import { type LoadConfig, type LoadResult, loadResultSchema, type SlowResult, slowResultSchema } from './load-types.ts';

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

/** Runs the load generator; rejects when it fails, writes something else than the schema says, or hangs. */
const runLoader = <T extends TSchema>(binary: string, schema: T, config: LoadConfig): Promise<Static<T>> =>
  new Promise((resolve, reject) => {
    const child = spawn(binary, { stdio: ['pipe', 'pipe', 'inherit'] });
    const forget = whenThisProcessDies(() => child.kill('SIGKILL'));
    const bound = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      forget();
      clearTimeout(bound);
      if (code !== 0) {
        reject(new Error(`the load generator ended with ${signal ?? `exit code ${String(code)}`}`));
        return;
      }
      try {
        resolve(Value.Parse(schema, JSON.parse(Buffer.concat(output).toString())));
      } catch (error) {
        reject(new Error('the load generator wrote something else than a result', { cause: error }));
      }
    });
    child.stdin.on('error', () => undefined); // it died before reading: 'close' tells
    child.stdin.end(JSON.stringify(config));
  });

/** Runs one load. */
export const createLoader =
  (binary: string): Loader =>
  (config) =>
    runLoader(binary, loadResultSchema, config);

/** Holds slow readers open beside a load. `config.slow` says which. */
export const holdSlowReaders = (binary: string, config: LoadConfig): Promise<SlowResult> =>
  runLoader(binary, slowResultSchema, config);
