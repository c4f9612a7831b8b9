// A server that keeps the protocol: one log per channel, cursors, sessions, idempotent publishes; acts only when told to.
import type { Command, Gap, Message, Position, Push, Since, Subscribed } from '../protocol/wire.ts';
import { createTestServer, type TestConnection } from './test-server.ts';

interface Log {
  epoch: string;
  /** Oldest offset still kept. */
  first: number;
  /** Offsets of the epoch: 1 … head. */
  head: number;
}

interface Serving {
  readonly connection: TestConnection;
  /** Commands answered so far. */
  answered: number;
  session: string;
  /** Last position sent. `restored`: by the server, from its session. */
  readonly cursors: Map<string, { position: Position; restored: boolean }>;
}

/** What a publish wrote, so that a test can tell where each went. */
interface Written extends Position {
  readonly data: unknown;
}

export const createModelServer = () => {
  const test = createTestServer();
  const logs = new Map<string, Log>();
  const serving: Serving[] = [];
  const sessions = new Map<string, Map<string, Position>>();
  const written = new Map<string, Written>();
  let epochs = 0;
  let names = 0;
  let refusals: number[] = [];

  const logOf = (channel: string): Log => {
    let log = logs.get(channel);
    if (!log) logs.set(channel, (log = { epoch: `e${++epochs}`, first: 1, head: 0 }));
    return log;
  };
  const isOpen = ({ connection }: Serving): boolean => connection.closed === undefined && !dropped.has(connection);
  const dropped = new Set<TestConnection>();
  const moving = new Set<Serving>();
  const drop = (one: Serving, code?: number): void => {
    if (!isOpen(one)) return;
    dropped.add(one.connection);
    one.connection.drop(code);
  };

  /** What follows the cursor, at most `limit` messages, and the cursor behind it. */
  const read = (channel: string, from: Position, limit: number): { pushes: (Message | Gap)[]; position: Position } => {
    const { epoch, first, head } = logOf(channel);
    const pushes: (Message | Gap)[] = [];
    let { offset } = from;
    if (from.epoch !== epoch) {
      pushes.push({ type: 'gap', channel, from: null, to: null, count: null, reason: 'epoch', epoch, offset: 0 });
      offset = 0;
    }
    if (offset < first - 1) {
      pushes.push({
        type: 'gap',
        channel,
        from: offset + 1,
        to: first - 1,
        count: first - 1 - offset,
        reason: 'expired',
      });
      offset = first - 1;
    }
    for (let sent = 0; sent < limit && offset < head; sent++) {
      offset++;
      pushes.push({ type: 'message', channel, data: `${epoch}:${offset}`, offset, time: 0 });
    }
    return { pushes, position: { epoch, offset } };
  };

  const start = (channel: string, since: Since | undefined): Position => {
    const { epoch, first, head } = logOf(channel);
    if (since === undefined) return { epoch, offset: head };
    if (since === 'earliest') return { epoch, offset: first - 1 };
    return 'last' in since ? { epoch, offset: Math.max(first - 1, head - since.last) } : since;
  };
  const subscribed = (channel: string, from: Position): Omit<Subscribed, 'id'> => {
    const { epoch, head, first } = logOf(channel);
    const recovered = from.epoch === epoch && from.offset >= first - 1;
    return { type: 'subscribed', channel, epoch, offset: head, recovered, policy: 'all' };
  };

  const connect = (one: Serving, session: string | undefined): Push[] => {
    const stored = session === undefined ? undefined : sessions.get(session);
    one.session = stored && session !== undefined ? session : `s${++names}`;
    sessions.set(one.session, stored ?? new Map<string, Position>());
    for (const other of serving) {
      if (other === one || other.session !== one.session) continue;
      // One that was asked to move is served on, without its session.
      if (moving.has(other)) other.session = '';
      else drop(other, 3503);
    }
    const pushes: Push[] = [];
    for (const [channel, position] of stored ?? []) {
      one.cursors.set(channel, { position, restored: true });
      pushes.push(subscribed(channel, position));
    }
    return pushes;
  };

  const answer = (one: Serving, command: Command): void => {
    const { connection, cursors, session } = one;
    const refuse = (code: number, temporary: boolean): void =>
      connection.reply(command, { type: 'error', code, name: 'refused', message: '', temporary, retryAfterMs: 100 });
    switch (command.type) {
      case 'connect': {
        const pushes = connect(one, command.session);
        connection.reply(command, {
          type: 'connected',
          connection: `c${++names}`,
          node: 'model',
          session: one.session,
          pingIntervalMs: 25_000,
          limits: { maxFrameBytes: 65_536, maxSubscriptions: 100 },
          broker: 'ready',
          serverTime: 0,
        });
        if (pushes.length > 0 && isOpen(one)) connection.push(...pushes);
        return;
      }
      case 'subscribe': {
        const { channel, since } = command;
        const code = refusals.shift();
        if (code !== undefined && (code !== 112 || (typeof since === 'object' && 'epoch' in since))) {
          refuse(code, code >= 114);
          return;
        }
        if (cursors.get(channel)?.restored === false) {
          refuse(105, false);
          return;
        }
        const position = start(channel, since);
        cursors.set(channel, { position, restored: false });
        sessions.get(session)?.set(channel, position);
        connection.reply(command, subscribed(channel, position));
        return;
      }
      case 'unsubscribe':
        cursors.delete(command.channel);
        sessions.get(session)?.delete(command.channel);
        connection.reply(command, { type: 'unsubscribed', channel: command.channel });
        return;
      case 'publish': {
        const { channel, data, messageId = '' } = command;
        const code = refusals.shift();
        if (code !== undefined && code >= 114) {
          refuse(code, true);
          return;
        }
        const duplicate = written.has(messageId);
        if (!duplicate) {
          const { epoch } = logOf(channel);
          written.set(messageId, { epoch, offset: ++logOf(channel).head, data });
        }
        const { epoch, offset } = written.get(messageId)!;
        connection.reply(command, { type: 'published', channel, epoch, offset, duplicate });
        return;
      }
      case 'ping':
        connection.reply(command, { type: 'pong' });
        return;
      default:
        refuse(108, false);
    }
  };

  const open = (): Serving[] => serving.filter(isOpen);

  return {
    transport: test.transport,
    logOf,
    written: written as ReadonlyMap<string, Written>,
    open,
    /** Opens what waits, and answers up to `limit` commands of each connection. */
    serve: (limit: number): void => {
      for (const connection of test.connections.slice(serving.length)) {
        serving.push({ connection, answered: 0, session: '', cursors: new Map() });
        connection.open();
      }
      for (const one of serving) {
        for (let n = 0; n < limit && isOpen(one); n++) {
          const command = one.connection.commands[one.answered];
          if (!command) break;
          one.answered++;
          answer(one, command);
        }
      }
    },
    /** Sends every subscription of a connection up to `limit` messages, in one frame. */
    deliver: (one: Serving, limit: number): void => {
      const frame: Push[] = [];
      for (const [channel, cursor] of one.cursors) {
        const { pushes, position } = read(channel, cursor.position, limit);
        cursor.position = position;
        sessions.get(one.session)?.set(channel, position);
        frame.push(...pushes);
      }
      if (frame.length > 0 && isOpen(one)) one.connection.push(...frame);
    },
    publish: (channel: string): void => {
      logOf(channel).head++;
    },
    trim: (channel: string): void => {
      const log = logOf(channel);
      log.first = Math.min(log.head + 1, log.first + 2);
    },
    renumber: (channel: string): void => {
      logs.delete(channel);
    },
    drop,
    /** Asks it to move. */
    move: (one: Serving): void => {
      moving.add(one);
      one.connection.push({ type: 'reconnect', afterMs: 100, withinMs: 5000, reason: 'drain' });
    },
    /** Error codes for the next commands that may be refused so. */
    refuseNext: (code: number): void => {
      refusals.push(code);
    },
    calm: (): void => {
      refusals = [];
    },
  };
};
