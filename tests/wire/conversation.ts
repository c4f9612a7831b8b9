// One raw WebSocket connection to the echo: frames out as they are asked for, the server's frames read back.
import { randomBytes } from 'node:crypto';
import {
  type FrameOptions,
  OPCODE,
  openRawSocket,
  type RawSocket,
  upgradeRequest,
  waitFor,
  webSocketFrame,
} from '../support/index.ts';
import { ECHO_PATH } from './echo-node.ts';

export interface ServerFrame {
  readonly fin: boolean;
  readonly reserved: number;
  readonly opcode: number;
  readonly masked: boolean;
  readonly payload: Buffer;
}

/** Whole frames at the start of `bytes`. */
export const parseFrames = (bytes: Buffer): ServerFrame[] => {
  const frames: ServerFrame[] = [];
  let at = 0;
  while (bytes.length >= at + 2) {
    const [first, second] = [bytes[at]!, bytes[at + 1]!];
    const short = second & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (bytes.length < at + 2 + lengthBytes) break;
    const length =
      lengthBytes === 0
        ? short
        : lengthBytes === 2
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    const start = at + 2 + lengthBytes;
    if (bytes.length < start + length) break;
    frames.push({
      fin: (first & 0x80) !== 0,
      reserved: (first >> 4) & 7,
      opcode: first & 15,
      masked: (second & 0x80) !== 0,
      payload: bytes.subarray(start, start + length),
    });
    at = start + length;
  }
  return frames;
};

export interface Conversation extends AsyncDisposable {
  readonly raw: RawSocket;
  /** The head of the server's answer. */
  readonly head: string;
  /** Writes frames in one write, or in pieces of `chop` bytes, each a write of its own. */
  send(frames: readonly FrameOptions[], chop?: number): Promise<void>;
  /** What the server sent, its own pings apart. */
  frames(): ServerFrame[];
  waitForFrames(count: number): Promise<ServerFrame[]>;
  /** Resolves with all frames once the server ended the connection. */
  waitForEnd(): Promise<ServerFrame[]>;
}

/** Opens a connection and completes its handshake. */
export const converse = async (
  port: number,
  headers: Readonly<Record<string, string | undefined>> = {},
  path = ECHO_PATH,
): Promise<Conversation> => {
  const raw = await openRawSocket(port);
  raw.socket.setNoDelay(true);
  raw.write(upgradeRequest(path, { 'Sec-WebSocket-Protocol': undefined, ...headers }));
  const text = await raw.waitForText(/^HTTP\/1\.1 [^]*?\r\n\r\n/);
  const head = text.slice(0, text.indexOf('\r\n\r\n') + 4);
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`no upgrade: ${text}`);
  // The server may ping at any time, the first time soon: that is no answer to anything.
  const frames = (): ServerFrame[] =>
    parseFrames(raw.bytes().subarray(head.length)).filter(({ opcode }) => opcode !== OPCODE.ping);
  return {
    raw,
    head,
    frames,
    async send(list, chop) {
      const bytes = Buffer.concat(list.map((frame) => webSocketFrame(frame)));
      const step = chop ?? Math.max(1, bytes.length);
      for (let at = 0; at < bytes.length; at += step) {
        await new Promise((resolve) => raw.socket.write(bytes.subarray(at, at + step), resolve));
      }
    },
    waitForFrames: (count) =>
      waitFor(
        () => {
          const all = frames();
          return all.length >= count ? all : undefined;
        },
        { description: () => `${count} frames; ${frames().length} are here` },
      ),
    waitForEnd: async () => {
      await raw.waitForEnd();
      return frames();
    },
    [Symbol.asyncDispose]: () => raw[Symbol.asyncDispose](),
  };
};

export const text = (payload: string | Uint8Array, more: Partial<FrameOptions> = {}): FrameOptions => ({
  opcode: OPCODE.text,
  payload,
  ...more,
});
export const binary = (payload: string | Uint8Array, more: Partial<FrameOptions> = {}): FrameOptions => ({
  opcode: OPCODE.binary,
  payload,
  ...more,
});
export const ping = (payload: string | Uint8Array = '', more: Partial<FrameOptions> = {}): FrameOptions => ({
  opcode: OPCODE.ping,
  payload,
  ...more,
});
export const pong = (payload: string | Uint8Array = '', more: Partial<FrameOptions> = {}): FrameOptions => ({
  opcode: OPCODE.pong,
  payload,
  ...more,
});
export const more = (payload: string | Uint8Array, fin: boolean): FrameOptions => ({
  opcode: OPCODE.continuation,
  payload,
  fin,
});
/** A close frame; without a code it has no payload. */
export const close = (code?: number, reason: string | Uint8Array = ''): FrameOptions => {
  if (code === undefined) return { opcode: OPCODE.close };
  const number = Buffer.alloc(2);
  number.writeUInt16BE(code);
  return { opcode: OPCODE.close, payload: Buffer.concat([number, Buffer.from(reason)]) };
};

/** What a server frame says, short: `[opcode, text or bytes]`; a close frame as `[8, code]`. */
export const said = ({ opcode, payload }: ServerFrame): readonly [number, string | number | undefined] =>
  opcode === OPCODE.close
    ? [opcode, payload.length >= 2 ? payload.readUInt16BE(0) : undefined]
    : [opcode, payload.toString('latin1')];

/** What echoing a message says. */
export const echoed = (opcode: number, payload: string | Uint8Array): readonly [number, string] => [
  opcode,
  Buffer.from(payload).toString('latin1'),
];

/** A nonce that nobody else writes: shows that the connection still works. */
export const probe = (): string => randomBytes(6).toString('hex');
