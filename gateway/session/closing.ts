// Ends many connections in slices, so that neither this node's loop nor the nodes that get them next are hit at once.
import type { Connection } from './connection.ts';

/** Connections closed per slice and the pause between two slices: 2 000 a second, unless time is short. */
const SLICE_SIZE = 100;
const SLICE_PAUSE_MS = 50;

/**
 * Closes everything in `connections` (a live set: closed ones leave it) with the code. Resolves when it is empty.
 * @param withinMs upper bound for the time it takes; slices grow when it is short
 */
export const closeInSlices = (
  connections: ReadonlySet<Connection>,
  { code, name }: { readonly code: number; readonly name: string },
  withinMs: number,
): Promise<void> =>
  new Promise((resolve) => {
    const slices = Math.max(1, Math.floor(withinMs / SLICE_PAUSE_MS));
    const size = Math.max(SLICE_SIZE, Math.ceil(connections.size / slices));
    const closeSlice = (): void => {
      let left = size;
      for (const connection of connections) {
        if (left-- === 0) break;
        connection.close(code, name);
      }
      if (connections.size === 0) resolve();
      else setTimeout(closeSlice, SLICE_PAUSE_MS);
    };
    closeSlice();
  });
