// Sends bytes as they are over TCP, for malformed HTTP and WebSocket input.
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { waitFor } from './wait-for.ts';

export interface RawSocket extends AsyncDisposable {
  readonly socket: Socket;
  write(bytes: string | Uint8Array): void;
  /** Everything received, as Latin-1. */
  text(): string;
  bytes(): Buffer;
  /** Resolves with everything received once it fits. */
  waitForText(expected: RegExp, timeoutMs?: number): Promise<string>;
  /** Resolves with everything received once the other side ended or cut the connection. */
  waitForEnd(timeoutMs?: number): Promise<string>;
  /** Ends our half only; the other side may go on sending. */
  end(): void;
  /** Cuts with RST, as a machine that lost power and came back. */
  reset(): void;
}

export async function openRawSocket(port: number, host = '127.0.0.1'): Promise<RawSocket> {
  const socket = connect({ port, host, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  let ended = false;
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('end', () => {
    ended = true;
  });
  socket.on('close', () => {
    ended = true;
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  // A reset by the other side is an answer like any other: waitForEnd sees it.
  socket.on('error', () => undefined);
  const bytes = (): Buffer => Buffer.concat(chunks);
  const text = (): string => bytes().toString('latin1');
  return {
    socket,
    write: (value) => {
      socket.write(value);
    },
    text,
    bytes,
    waitForText: async (expected, timeoutMs = 10_000) => {
      await waitFor(() => expected.test(text()), {
        timeoutMs,
        description: () => `${String(expected)}; so far: ${JSON.stringify(text())}`,
      });
      return text();
    },
    waitForEnd: async (timeoutMs = 10_000) => {
      await waitFor(() => ended, {
        timeoutMs,
        description: () => `the connection to end; so far: ${JSON.stringify(text())}`,
      });
      return text();
    },
    end: () => {
      socket.end();
    },
    reset: () => {
      socket.resetAndDestroy();
    },
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await waitFor(() => socket.closed, { description: 'a raw socket to close' });
    },
  };
}

/** A correct upgrade request; `headers` replace or add lines, `undefined` leaves one out. */
export function upgradeRequest(path: string, headers: Readonly<Record<string, string | undefined>> = {}): string {
  const lines: Record<string, string | undefined> = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'weir.v1.json',
    ...headers,
  };
  const written = Object.entries(lines).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  return `GET ${path} HTTP/1.1\r\n${written.join('')}\r\n`;
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface FrameOptions {
  readonly opcode: number;
  readonly payload?: string | Uint8Array;
  /** Default true. */
  readonly fin?: boolean;
  /** Default true, as RFC 6455 demands of clients. */
  readonly masked?: boolean;
  /** The three reserved bits, 0–7. */
  readonly reserved?: number;
  /** Written into the header in place of the real length: a frame cut short. */
  readonly announcedLength?: number;
}

/** One WebSocket frame, right or wrong as asked (RFC 6455 §5.2). */
export function webSocketFrame(options: FrameOptions): Buffer {
  const { opcode, fin = true, masked = true, reserved = 0 } = options;
  const payload = Buffer.from(options.payload ?? '');
  const length = options.announcedLength ?? payload.length;
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  const maskBit = masked ? 0x80 : 0;
  let header: Buffer;
  if (length < 126) header = Buffer.from([first, maskBit | length]);
  else if (length < 65_536) {
    header = Buffer.from([first, maskBit | 126, 0, 0]);
    header.writeUInt16BE(length, 2);
  } else {
    header = Buffer.from([first, maskBit | 127, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!masked) return Buffer.concat([header, payload]);
  const mask = randomBytes(4);
  const hidden = payload.map((byte, i) => byte ^ mask[i % 4]!);
  return Buffer.concat([header, mask, hidden]);
}
