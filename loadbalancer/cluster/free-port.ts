// Finds a TCP port that nothing listens on, outside the range the kernel takes for outgoing connections.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

const FIRST_PORT = 15_000;
const LAST_PORT = 32_000;
const MAX_TRIES = 200;

/** A file a port, holding the id of the process that has it: test workers and clusters side by side never share one. */
const RESERVATIONS = join(tmpdir(), `weir-ports-${userInfo().uid}`);

/** Ports this process has reserved; undefined until the first. */
let reserved: Set<number> | undefined;

const fileOf = (port: number): string => join(RESERVATIONS, String(port));

function ownReservations(): Set<number> {
  if (reserved !== undefined) return reserved;
  const own = new Set<number>();
  reserved = own;
  mkdirSync(RESERVATIONS, { recursive: true });
  process.once('exit', () => {
    for (const port of own) rmSync(fileOf(port), { force: true });
  });
  return own;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Undefined when the reservation is being written or has just ended. */
function holderOf(port: number): number | undefined {
  try {
    return Number(readFileSync(fileOf(port), 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

/** False when another living process, or this one before, has the port. What a dead process left is taken over. */
function reserve(port: number): boolean {
  const own = ownReservations();
  if (own.has(port)) return false;
  for (const flag of ['wx', 'w']) {
    try {
      writeFileSync(fileOf(port), String(process.pid), { flag });
      own.add(port);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = holderOf(port);
      if (holder === undefined || isAlive(holder)) return false;
    }
  }
  return false;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => {
      resolve(false);
    });
    // No host: the probe listens on every address, so a listener on any of them makes it fail.
    probe.listen({ port, exclusive: true }, () => {
      probe.close(() => {
        resolve(true);
      });
    });
  });
}

/**
 * A port number that was free a moment ago and that no process using this function has: `preferred` if it can be. It
 * stays reserved until this process ends, also while what listens on it restarts. Any other lies below the usual
 * ephemeral range (32768 and up): a port in that range may be taken by an outgoing connection between the look and
 * the listen, which happens in tests that open thousands of them.
 */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && reserve(preferred) && (await isFree(preferred))) return preferred;
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (reserve(port) && (await isFree(port))) return port;
  }
  throw new Error(`no free TCP port between ${FIRST_PORT} and ${LAST_PORT} after ${MAX_TRIES} tries`);
}
