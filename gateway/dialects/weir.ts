// The native dialect `weir.v1.json`: JSON objects, or arrays of them, in text frames (protocol §1, §3, §4).
import { parseCommand } from '../../protocol/command-validators.ts';
import { MAX_COMMANDS_PER_FRAME } from '../../protocol/limits.ts';
import { type Decoded, type Dialect, isGap, type LogEntry } from './dialect.ts';
import { writeHistoryPage } from './history-page.ts';

/** The WebSocket sub-protocol of this dialect. */
export const WEIR_SUBPROTOCOL = 'weir.v1.json';

/** A batch frame is closed when it is larger than this, so that no single frame occupies a socket for long. Bytes. */
const MAX_BATCH_BYTES = 64 * 1024;

const COMMA = 0x2c;
const OPEN = 0x5b;
const CLOSE = 0x5d;

const decodeOne = (value: unknown): Decoded => parseCommand(value);

const decode = (frame: string): readonly Decoded[] => {
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch {
    return [{ kind: 'error', error: 'badRequest', message: 'expected JSON, got text that is none' }];
  }
  if (!Array.isArray(value)) return [decodeOne(value)];
  if (value.length === 0) {
    return [{ kind: 'error', error: 'badRequest', message: 'expected at least one command, got an empty array' }];
  }
  if (value.length > MAX_COMMANDS_PER_FRAME) {
    const message = `expected at most ${MAX_COMMANDS_PER_FRAME} commands in a frame, got ${value.length}; none was run`;
    return [{ kind: 'error', error: 'limitExceeded', message }];
  }
  return value.map(decodeOne);
};

/** One message or receipt of a batch. A body is a JSON object of its own: without its opening brace it continues `text`. */
interface Part {
  readonly text: string;
  readonly textBytes: number;
  readonly body: Buffer | undefined;
}

/** What stands before the offset in every message of a channel. */
const prefixOf = (channel: string): string => `{"type":"message","channel":${JSON.stringify(channel)},`;

const partOf = (entry: LogEntry, channel: string, prefix: string, prefixBytes: number): Part => {
  if (isGap(entry)) {
    const text = JSON.stringify({ type: 'gap', channel, ...entry });
    return { text, textBytes: Buffer.byteLength(text), body: undefined };
  }
  const position = entry.offset > 0 ? `"offset":${entry.offset},` : '';
  return { text: prefix + position, textBytes: prefixBytes + position.length, body: entry.body };
};

const bytesOf = ({ textBytes, body }: Part): number => (body === undefined ? textBytes : textBytes + body.length - 1);

/** Writes a part at `at`; returns the position behind it. */
const writePart = (target: Buffer, at: number, { text, textBytes, body }: Part): number => {
  // The body first: the last byte of the text takes the place of its brace. Cutting that off would cost a view of the body.
  if (body !== undefined) target.set(body, at + textBytes - 1);
  target.write(text, at, textBytes === text.length ? 'latin1' : 'utf8');
  return body === undefined ? at + textBytes : at + textBytes + body.length - 1;
};

/** A single part as it is, several as an array. `bytes` is the sum of the parts. */
const frameOf = (parts: readonly Part[], bytes: number): Buffer => {
  if (parts.length === 1) {
    const frame = Buffer.allocUnsafe(bytes);
    writePart(frame, 0, parts[0]!);
    return frame;
  }
  const frame = Buffer.allocUnsafe(bytes + parts.length + 1);
  frame[0] = OPEN;
  let at = 1;
  for (let index = 0; index < parts.length; index++) {
    if (index > 0) frame[at++] = COMMA;
    at = writePart(frame, at, parts[index]!);
  }
  frame[at] = CLOSE;
  return frame;
};

const encodeBatch = (channel: string, entries: readonly LogEntry[]): readonly Buffer[] => {
  const prefix = prefixOf(channel);
  const prefixBytes = Buffer.byteLength(prefix);
  const frames: Buffer[] = [];
  let parts: Part[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const part = partOf(entry, channel, prefix, prefixBytes);
    const size = bytesOf(part);
    if (parts.length > 0 && bytes + size > MAX_BATCH_BYTES) {
      frames.push(frameOf(parts, bytes));
      parts = [];
      bytes = 0;
    }
    parts.push(part);
    bytes += size;
  }
  if (parts.length > 0) frames.push(frameOf(parts, bytes));
  return frames;
};

export const weirDialect: Dialect = {
  name: WEIR_SUBPROTOCOL,
  decode,
  encode: (message) =>
    message.type === 'history'
      ? writeHistoryPage({ type: message.type, id: message.id }, message.page)
      : JSON.stringify(message),
  encodeBatch,
};
