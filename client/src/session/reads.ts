// Requests that change nothing (history, presence): they wait for a connection and are asked again when one is lost.
import type { Clock } from '../clock.ts';
import { CONNECTION_LOST, timedOut, WeirError } from '../errors.ts';
import type { Commands, Replies } from '../protocol/wire.ts';
import type { Connection } from './connection.ts';

type ReadType = 'history' | 'presence';

export interface Reads {
  /** Rejects with the server's error, or `timeout` when no answer came within the time, however many connections it took. */
  read<T extends ReadType>(type: T, fields: Commands[T]): Promise<Replies[T]>;
  attach(connection: Connection): void;
  detach(connection: Connection): void;
  rejectAll(error: WeirError): void;
}

interface Read {
  send(connection: Connection): void;
  fail(error: WeirError): void;
}

export const createReads = (clock: Clock, timeoutMs: number): Reads => {
  const open = new Set<Read>();
  let current: Connection | undefined;

  return {
    read: (type, fields) =>
      new Promise((resolve, reject) => {
        const finish = (): void => {
          cancel();
          open.delete(read);
        };
        const read: Read = {
          send: (connection) =>
            connection.request(type, fields, (outcome) => {
              if (!open.has(read)) return;
              if (!(outcome instanceof WeirError)) {
                finish();
                resolve(outcome);
              } else if (outcome.code !== CONNECTION_LOST) read.fail(outcome);
            }),
          fail: (error) => {
            finish();
            reject(error);
          },
        };
        const cancel = clock.after(timeoutMs, () => read.fail(timedOut(type)));
        open.add(read);
        if (current) read.send(current);
      }),
    attach: (connection) => {
      current = connection;
      for (const read of open) read.send(connection);
    },
    detach: (connection) => {
      if (current === connection) current = undefined;
    },
    rejectAll: (error) => {
      for (const read of [...open]) read.fail(error);
    },
  };
};
