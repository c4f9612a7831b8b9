// What the figures were measured on: without it they mean nothing.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../loadbalancer/cluster/node-process.ts';

const run = promisify(execFile);

/** The first line a command prints, or the reason why there is none. */
const firstLine = async (command: string, ...args: string[]): Promise<string> => {
  try {
    const { stdout } = await run(command, args, { cwd: projectRoot() });
    return stdout.trim().split('\n')[0] ?? '';
  } catch {
    return 'not available';
  }
};

const versionOf = (packageName: string): string => {
  const text = readFileSync(join(projectRoot(), 'node_modules', packageName, 'package.json'), 'utf8');
  const parsed: unknown = JSON.parse(text);
  return typeof parsed === 'object' && parsed !== null && 'version' in parsed ? String(parsed.version) : 'unknown';
};

/** `loadAverage` is that of the minute before the bench: well above 0 means that others used the machine. */
export const describeEnvironment = async (pinning: string) => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryBytes: totalmem(),
  kernel: release(),
  node: process.version,
  redis: await firstLine('redis-server', '--version'),
  go: await firstLine('go', 'version'),
  commit: await firstLine('git', 'rev-parse', '--short', 'HEAD'),
  'uWebSockets.js': versionOf('uWebSockets.js'),
  ws: versionOf('ws'),
  ioredis: versionOf('ioredis'),
  loadAverage: loadavg()[0] ?? 0,
  pinning,
});

export type Environment = Awaited<ReturnType<typeof describeEnvironment>>;
