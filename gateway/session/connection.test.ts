import { describe, expect, it, vi } from 'vitest';
import type { Principal } from '../access/limits/principals.ts';
import { createRandomIds, systemClock } from '../clock.ts';
import { weirDialect } from '../dialects/weir.ts';
import { Connection, type ConnectionHost } from './connection.ts';

/** A connection whose outbox holds so much, and what becomes of its socket. */
const openConnection = (heldBytes = 0, mayLinger: (heldBytes: number) => boolean = () => true) => {
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
    unsubscribe: () => undefined,
    onClosed: (one, code) => {
      one.heldBytes = 0;
      one.account.close();
      done.push(`closed ${code}`);
    },
    mayLinger,
  };
  return { connection: new Connection(socket, weirDialect, '127.0.0.1', host as ConnectionHost), done };
};

const endWith = (...how: Parameters<typeof openConnection>): readonly string[] => {
  const { connection, done } = openConnection(...how);
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

describe('the subscriptions of a connection', () => {
  it('count for its user one by one, also those from before it had one, until it closes', () => {
    const connections = { enter: () => true, leave: vi.fn(), renew: () => undefined, isIdle: () => false };
    const user = { connections, subscriptions: 5 } as unknown as Principal;
    const { connection } = openConnection();
    const opening = new Promise<never>(() => undefined);
    connection.hold('a', opening);
    connection.account.countFor(user);
    connection.hold('b', opening);
    // The opened subscription takes the place of its opening.
    connection.hold('b', opening);
    expect(user.subscriptions).toBe(7);
    connection.release('a');
    connection.release('a');
    connection.release('never held');
    expect(user.subscriptions).toBe(6);
    connection.close(3000, '');
    expect(user.subscriptions).toBe(5);
    connection.hold('late', opening);
    connection.release('late');
    expect([user.subscriptions, connections.leave.mock.calls.length]).toEqual([5, 1]);
  });
});
