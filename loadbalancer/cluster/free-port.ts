// Finds a TCP port that nothing listens on, outside the range the kernel takes for outgoing connections.
import { createServer } from 'node:net';

const FIRST_PORT = 15_000;
const LAST_PORT = 32_000;
const MAX_TRIES = 200;

/** Ports already handed out by this process, so that two callers never race for one before they listen. */
const handedOut = new Set<number>();

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
 * A port number that was free a moment ago and that this process has not handed out before: `preferred` if it can be.
 * Any other lies below the usual ephemeral range (32768 and up): a port in that range may be taken by an outgoing
 * connection between the look and the listen, which happens in tests that open thousands of them.
 */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && !handedOut.has(preferred) && (await isFree(preferred))) {
    handedOut.add(preferred);
    return preferred;
  }
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (handedOut.has(port)) continue;
    if (await isFree(port)) {
      handedOut.add(port);
      return port;
    }
  }
  throw new Error(`no free TCP port between ${FIRST_PORT} and ${LAST_PORT} after ${MAX_TRIES} tries`);
}
