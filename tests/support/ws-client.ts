// Speaks weir.v1.json over a WebSocket, written apart from the gateway and the SDK so that it can be their referee.
import { WebSocket, type ClientOptions } from 'ws';
import { waitFor } from './wait-for.ts';

/** Any object of the protocol: `type` and whatever else it carries. */
export interface WireObject {
  readonly type: string;
  readonly id?: number;
  readonly [field: string]: unknown;
}

export interface CloseEvent {
  readonly code: number;
  readonly reason: string;
}

export interface WsClientOptions {
  /** Default `weir.v1.json`; an empty array offers none. */
  readonly protocols?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** `Origin`, as a browser would send it. */
  readonly origin?: string;
  /** Further options of npm `ws`. */
  readonly ws?: ClientOptions;
  /** Sends `connect` with these fields once open and awaits the reply. `false` sends nothing. Default `{}`. */
  readonly connect?: Readonly<Record<string, unknown>> | false;
  /** Time for each reply and each wait. Default 10000. */
  readonly timeoutMs?: number;
}

export interface WsClient extends AsyncDisposable {
  readonly socket: WebSocket;
  /** The reply to `connect`; undefined with `connect: false`. */
  readonly connected: WireObject | undefined;
  /** Every object received, replies too, in order; batches are taken apart. */
  readonly received: readonly WireObject[];
  /** Received objects without an `id`. */
  readonly pushes: readonly WireObject[];
  /** Received `message` pushes, of one channel if named. */
  messages(channel?: string): WireObject[];
  /** Received `gap` pushes, of one channel if named. */
  gaps(channel?: string): WireObject[];
  /** Frames received, each one object or a batch. */
  frames(): number;
  /** Sends a command with a fresh `id` and resolves with its reply; an `error` reply resolves as well. */
  command(type: string, fields?: Readonly<Record<string, unknown>>): Promise<WireObject>;
  /** As `command`, for several in one frame. */
  commands(list: readonly (Readonly<Record<string, unknown>> & { type: string })[]): Promise<WireObject[]>;
  /** As `command`; throws when the reply is an `error`. */
  expect(type: string, fields?: Readonly<Record<string, unknown>>): Promise<WireObject>;
  /** Sends a value as it is: strings and bytes unchanged, anything else as JSON. */
  send(value: unknown): void;
  waitForMessages(count: number, channel?: string): Promise<WireObject[]>;
  /** The first push, received already or later, that fits. */
  waitForPush(type: string, fits?: (push: WireObject) => boolean): Promise<WireObject>;
  /** Undefined while open. */
  closed(): CloseEvent | undefined;
  waitForClose(): Promise<CloseEvent>;
  /** Stops reading from the socket, so that it becomes a slow client; `resume` goes on. */
  pause(): void;
  resume(): void;
  /** Closes in an orderly way and resolves when it is closed. */
  close(code?: number, reason?: string): Promise<void>;
  /** Cuts the connection without a close frame. */
  terminate(): void;
}

/** Thrown when the server refuses the upgrade: the HTTP answer it gave. */
export class UpgradeRefused extends Error {
  override readonly name = 'UpgradeRefused';
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
  constructor(status: number, headers: NodeJS.Dict<string | string[]>, body: string) {
    super(`upgrade refused with ${status}: ${body}`);
    this.status = status;
    this.headers = headers;
    this.body = body;
  }
}

function open(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
    socket.once('close', () => {
      reject(new Error('closed before it was open'));
    });
    socket.once('unexpected-response', (_request, response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        reject(new UpgradeRefused(response.statusCode ?? 0, response.headers, Buffer.concat(chunks).toString()));
      });
    });
  });
}

/** Opens a connection to `url` (`ws://host:port/v1/ws`). Rejects with UpgradeRefused when the server answers otherwise. */
export async function openWsClient(url: string, options: WsClientOptions = {}): Promise<WsClient> {
  const { timeoutMs = 10_000, protocols = ['weir.v1.json'] } = options;
  const socket = new WebSocket(url, [...protocols], {
    headers: { ...options.headers },
    origin: options.origin,
    perMessageDeflate: false,
    handshakeTimeout: timeoutMs,
    ...options.ws,
  });
  const received: WireObject[] = [];
  const pushes: WireObject[] = [];
  const waiting = new Map<number, (reply: WireObject) => void>();
  let frames = 0;
  let closed: CloseEvent | undefined;
  let nextId = 1;

  socket.on('message', (bytes: Buffer) => {
    frames += 1;
    const frame = JSON.parse(bytes.toString('utf8')) as WireObject | WireObject[];
    for (const object of Array.isArray(frame) ? frame : [frame]) {
      received.push(object);
      if (object.id === undefined) pushes.push(object);
      else {
        waiting.get(object.id)?.(object);
        waiting.delete(object.id);
      }
    }
  });
  socket.on('close', (code, reason) => {
    closed = { code, reason: reason.toString() };
  });
  // The close event follows; nothing more is to be learnt from it here.
  socket.on('error', () => undefined);
  await open(socket);

  const send = (value: unknown): void => {
    socket.send(typeof value === 'string' || value instanceof Uint8Array ? value : JSON.stringify(value));
  };
  const reply = (id: number, type: string): Promise<WireObject> =>
    new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(timer);
        waiting.delete(id);
        reject(new Error(`no reply to ${type} (id ${id}): ${why}`));
      };
      const onClose = (code: number, reason: Buffer): void => {
        fail(`closed with ${code} ${reason.toString()}`);
      };
      const timer = setTimeout(() => {
        socket.off('close', onClose);
        fail(`${timeoutMs} ms passed`);
      }, timeoutMs);
      socket.once('close', onClose);
      waiting.set(id, (object) => {
        clearTimeout(timer);
        socket.off('close', onClose);
        resolve(object);
      });
    });
  const commands: WsClient['commands'] = (list) => {
    const numbered = list.map((command) => ({ id: nextId++, ...command }));
    const replies = numbered.map(({ id, type }) => reply(id, type));
    send(numbered.length === 1 ? numbered[0] : numbered);
    return Promise.all(replies);
  };
  const command: WsClient['command'] = async (type, fields) => {
    const [only] = await commands([{ type, ...fields }]);
    return only!;
  };
  const expect: WsClient['expect'] = async (type, fields) => {
    const answer = await command(type, fields);
    if (answer.type === 'error') throw new Error(`${type} was answered with an error: ${JSON.stringify(answer)}`);
    return answer;
  };
  const ofType = (type: string, channel?: string): WireObject[] =>
    pushes.filter((push) => push.type === type && (channel === undefined || push['channel'] === channel));
  const waitForClose = (): Promise<CloseEvent> =>
    waitFor(() => closed, { timeoutMs, description: `${url} to close the connection` });
  const close = async (code = 1000, reason = ''): Promise<void> => {
    socket.resume();
    socket.close(code, reason);
    await waitForClose();
  };

  const connected =
    options.connect === false ? undefined : await expect('connect', options.connect ?? {}).catch(cutAndThrow(socket));

  return {
    socket,
    connected,
    received,
    pushes,
    messages: (channel) => ofType('message', channel),
    gaps: (channel) => ofType('gap', channel),
    frames: () => frames,
    command,
    commands,
    expect,
    send,
    waitForMessages: async (count, channel) => {
      const enough = (): WireObject[] | undefined => {
        const messages = ofType('message', channel);
        return messages.length >= count ? messages : undefined;
      };
      const state = (): string =>
        `${count} messages${channel === undefined ? '' : ` of ${channel}`}, ${ofType('message', channel).length} are here` +
        (closed === undefined ? '' : `, and the connection closed with ${closed.code} ${closed.reason}`);
      return waitFor(enough, { timeoutMs, description: state });
    },
    waitForPush: (type, fits = () => true) =>
      waitFor(() => ofType(type).find(fits), { timeoutMs, description: `a push of type ${type}` }),
    closed: () => closed,
    waitForClose,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close,
    terminate: () => socket.terminate(),
    [Symbol.asyncDispose]: async () => {
      if (closed !== undefined) return;
      socket.terminate();
      await waitForClose();
    },
  };
}

function cutAndThrow(socket: WebSocket): (error: unknown) => never {
  return (error) => {
    socket.terminate();
    throw error;
  };
}
