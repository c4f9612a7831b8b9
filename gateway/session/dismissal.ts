// The end of a connection that owes too much: it gets nothing more, may drain to hear why, and is cut when it does not.
//
// An orderly close of a full socket would keep its memory in the engine until the client reads; a client that does not read
// cannot hear the close code either. So 3008 is sent once the outbox has drained, and cutting gives the memory back at once.
// Whatever was not sent is read after the client's cursors when it comes back.
import { closeCodes } from '../../protocol/codes.ts';
import { LOW_BYTES } from '../fanout/catch-up.ts';
import type { Connection } from './connection.ts';

export interface Dismissal {
  /** The connection was dismissed; nothing is sent to it any more. */
  handleDismissed(connection: Connection): void;
  /** The backlog of a connection shrank. Returns whether it is one that goes, and nobody else shall serve it. */
  handleDrain(connection: Connection): boolean;
  /** Does not wait any longer. */
  cut(connection: Connection): void;
  close(): void;
}

/** How long a dismissed connection may drain, ms. */
const GRACE_MS = 2000;

export const createDismissal = (onCut: () => void): Dismissal => {
  const { code, name } = closeCodes.tooSlow;
  const timers = new Map<Connection, NodeJS.Timeout>();

  const stopWaiting = (connection: Connection): void => {
    clearTimeout(timers.get(connection));
    timers.delete(connection);
  };
  const closeDrained = (connection: Connection): boolean => {
    if (connection.bufferedBytes() > LOW_BYTES) return false;
    stopWaiting(connection);
    connection.close(code, name);
    return true;
  };
  const cut = (connection: Connection): void => {
    stopWaiting(connection);
    if (!connection.isOpen()) return;
    onCut();
    connection.cut(code);
  };

  return {
    handleDismissed(connection) {
      if (!closeDrained(connection)) timers.set(connection, setTimeout(cut, GRACE_MS, connection).unref());
    },
    handleDrain(connection) {
      if (connection.dismissed) closeDrained(connection);
      return connection.dismissed;
    },
    cut,
    close() {
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
    },
  };
};
