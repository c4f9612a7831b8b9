// Lua scripts from files, run by their hash and sent in full only when the server does not know them.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { sendOnce } from './forgetful-command.ts';

export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** Several files are one script, in the order given. */
export const loadScript = (...files: readonly string[]): Script => {
  const source = files.map((file) => readFileSync(new URL(`./lua/${file}`, import.meta.url), 'utf8')).join('');
  return { source, sha: createHash('sha1').update(source).digest('hex') };
};

export const isNoScript = (error: unknown): boolean => error instanceof Error && error.message.startsWith('NOSCRIPT');

/** Runs a script whose order among other calls does not matter. Bulk strings of the reply are Buffers. */
export const runScript = async (
  redis: Redis,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
): Promise<unknown> => {
  try {
    return await sendOnce(redis, 'EVALSHA', [script.sha, keys.length, ...keys, ...args]);
  } catch (error) {
    if (!isNoScript(error)) throw error;
    return sendOnce(redis, 'EVAL', [script.source, keys.length, ...keys, ...args]);
  }
};
