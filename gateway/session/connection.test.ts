import { describe, expect, it } from 'vitest';
import { createRandomIds, systemClock } from '../clock.ts';
import { weirDialect } from '../dialects/weir.ts';
import { Connection, type ConnectionHost } from './connection.ts';

/** A connection whose outbox held so much, and what its end did to the socket. */
const endWith = (heldBytes: number, mayLinger: (heldBytes: number) => boolean): readonly string[] => {
  const done: string[] = [];
  const socket = {
    send: () => undefined,
    cork: (write: () => void) => write(),
    bufferedBytes: () => heldBytes,
    end: (code: number) => void done.push(`ended ${code}`),
    cut: () => void done.push('cut'),
  };
  const host: Partial<ConnectionHost> = {
    ids: createRandomIds(),
    clock: systemClock,
    // As the budget does.
    onHeld: (one, bytes) => (one.heldBytes = bytes),
    onClosing: () => undefined,
    onClosed: (one, code) => {
      one.heldBytes = 0;
      done.push(`closed ${code}`);
    },
    mayLinger,
  };
  const connection = new Connection(socket, weirDialect, '127.0.0.1', host as ConnectionHost);
  connection.bufferedBytes();
  connection.close(3008, 'too slow');
  connection.close(3008, 'too slow');
  return done;
};

describe('the end of a connection', () => {
  it('is a close frame behind what is buffered, while the node has room for that', () => {
    expect(endWith(1000, (bytes) => bytes <= 1000)).toEqual(['closed 3008', 'ended 3008']);
  });

  it('is a cut where what it holds would be too much, so that who does not read keeps nothing', () => {
    expect(endWith(1001, (bytes) => bytes <= 1000)).toEqual(['closed 3008', 'cut']);
  });
});
