// The `weir` tool as a process.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { runCli } from './cli.ts';

const { stdout, stderr, exitCode } = runCli(process.argv.slice(2), {
  env: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
  nowMs: Date.now(),
  random: (bytes) => randomBytes(bytes).toString('base64url'),
});
process.stdout.write(stdout);
process.stderr.write(stderr);
process.exitCode = exitCode;
