// The contract between commands and the sessions behind them: what survives a connection, and who takes it up again.
import type { Connection } from '../connection.ts';

export interface Sessions {
  /**
   * Makes the connection continue `session` when it is this client's: `connection.session` has its id afterwards, and its
   * subscriptions come back by themselves unless the client takes them first. Otherwise the connection keeps the id it
   * has. Resolves in bounded time and never rejects; undefined when nothing needs waiting for.
   */
  continue(connection: Connection, session: string): Promise<void> | undefined;
  /** A subscription was opened or ended. */
  handleChanged(connection: Connection): void;
  /** Whether the subscription is one that came back by itself and that the client has not named since. */
  isRestored(connection: Connection, channel: string): boolean;
  /** Whether the subscription is to come back with the session. */
  isPending(connection: Connection, channel: string): boolean;
  /** The client decides about the channel from now on. Returns whether it was restored or about to be. */
  take(connection: Connection, channel: string): boolean;
  /** The connection ends; its subscriptions are still there. */
  handleClosing(connection: Connection, code: number): void;
  /** Writes what can still be written and ends. */
  close(): Promise<void>;
}

/** Sessions turned off: every connection is new. */
export const noSessions: Sessions = {
  continue: () => undefined,
  handleChanged: () => undefined,
  isRestored: () => false,
  isPending: () => false,
  take: () => false,
  handleClosing: () => undefined,
  close: () => Promise.resolve(),
};
