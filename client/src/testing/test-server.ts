// The server side of a transport, scripted by a test: accept, read commands, push, drop. No network, no timers.
import type { Command, CommandType, Connected, Push, Reply } from '../protocol/wire.ts';
import type { TransportFactory, TransportHandlers } from '../transport/transport.ts';

export type CommandOf<T extends CommandType> = Extract<Command, { type: T }>;
/** What the server sends, without the id of the command it answers. */
export type Answer = Reply extends infer R ? (R extends Reply ? Omit<R, 'id'> : never) : never;

export interface TestConnection {
  readonly url: string;
  /** Frames as they came. */
  readonly frames: readonly string[];
  /** Commands in order, taken out of their frames. */
  readonly commands: readonly Command[];
  /** How the client closed it; undefined while open. */
  readonly closed: { code: number; reason: string } | undefined;
  /** What the transport reports as not yet sent; set by the test. */
  bufferedBytes: number;
  open(): void;
  /** The next command of this type that `next` has not given yet; waits for it. */
  next<T extends CommandType>(type: T): Promise<CommandOf<T>>;
  reply(command: Command, answer: Answer): void;
  /** All in one frame: an object when it is one, else an array. */
  push(...messages: (Push | Reply)[]): void;
  /** Any text as a frame. */
  send(frame: string): void;
  /** Ends it from the server's side. Without arguments: the network broke. */
  drop(code?: number, reason?: string): void;
}

export interface TestServer {
  /** The `transport` option of the client. */
  readonly transport: TransportFactory;
  /** Every attempt so far. */
  readonly connections: readonly TestConnection[];
  /** The next attempt `attempt` and `accept` have not given yet, not open; waits for it. */
  attempt(): Promise<TestConnection>;
  /** As `attempt`, then opens it and answers `connect`. */
  accept(connected?: Partial<Connected>): Promise<TestConnection>;
}

/** Values in order, each given once to whoever waits for one that matches. */
const createInbox = <V>() => {
  const values: V[] = [];
  const waiters: { matches: (value: V) => boolean; resolve: (value: V) => void }[] = [];
  return {
    add: (value: V): void => {
      const index = waiters.findIndex(({ matches }) => matches(value));
      if (index < 0) values.push(value);
      else waiters.splice(index, 1)[0]!.resolve(value);
    },
    take: (matches: (value: V) => boolean): Promise<V> => {
      const index = values.findIndex(matches);
      if (index >= 0) return Promise.resolve(values.splice(index, 1)[0]!);
      return new Promise((resolve) => {
        waiters.push({ matches, resolve });
      });
    },
  };
};

const createTestConnection = (url: string, handlers: TransportHandlers) => {
  const frames: string[] = [];
  const commands: Command[] = [];
  const inbox = createInbox<Command>();
  let closed: TestConnection['closed'];
  let state: 'live' | 'ended' = 'live';

  const connection: TestConnection = {
    url,
    frames,
    commands,
    get closed() {
      return closed;
    },
    bufferedBytes: 0,
    open: () => {
      if (state === 'live') handlers.onOpen();
    },
    next: async <T extends CommandType>(type: T) =>
      (await inbox.take((command) => command.type === type)) as CommandOf<T>,
    reply: ({ id }, answer) => connection.send(JSON.stringify({ ...answer, id })),
    push: (...messages) => connection.send(JSON.stringify(messages.length === 1 ? messages[0] : messages)),
    send: (frame) => {
      if (state === 'live') handlers.onFrame(frame);
    },
    drop: (code = 1006, reason = '') => {
      if (state === 'ended') return;
      state = 'ended';
      handlers.onClose({ code, reason });
    },
  };
  return {
    connection,
    transport: {
      send: (frame: string): void => {
        frames.push(frame);
        const parsed = JSON.parse(frame) as Command | Command[];
        for (const command of Array.isArray(parsed) ? parsed : [parsed]) {
          commands.push(command);
          inbox.add(command);
        }
      },
      close: (code: number, reason: string): void => {
        state = 'ended';
        closed ??= { code, reason };
      },
      get bufferedBytes() {
        return connection.bufferedBytes;
      },
    },
  };
};

export const createTestServer = (): TestServer => {
  const connections: TestConnection[] = [];
  const inbox = createInbox<TestConnection>();
  const attempt = (): Promise<TestConnection> => inbox.take(() => true);

  return {
    connections,
    attempt,
    accept: async (connected) => {
      const connection = await attempt();
      connection.open();
      connection.reply(await connection.next('connect'), {
        type: 'connected',
        connection: `connection-${connections.length}`,
        node: 'test',
        session: 'session-1',
        pingIntervalMs: 25_000,
        limits: { maxFrameBytes: 65_536, maxSubscriptions: 1000 },
        broker: 'ready',
        serverTime: 0,
        ...connected,
      });
      return connection;
    },
    transport: (url, handlers) => {
      const { connection, transport } = createTestConnection(url, handlers);
      connections.push(connection);
      inbox.add(connection);
      return transport;
    },
  };
};
