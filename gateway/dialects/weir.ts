// The native dialect `weir.v1.json`: JSON objects, or arrays of them, in text frames (protocol §1, §3, §4).
import type { Publication } from '../../broker/publication.ts';
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
/** The field of the largest offset plus the comma behind it. */
const MAX_OFFSET_BYTES = 26;

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

const OFFSET_FIELD = '"offset":';

/** Writes one entry at `at`; returns the position behind it. `prefix` is everything up to the offset. */
const writeEntry = (target: Buffer, at: number, prefix: Buffer, encoded: Publication | Buffer): number => {
  if (Buffer.isBuffer(encoded)) return at + encoded.copy(target, at);
  let end = at + prefix.copy(target, at);
  if (encoded.offset > 0) {
    end += target.write(`${OFFSET_FIELD}${encoded.offset}`, end, 'latin1');
    target[end++] = COMMA;
  }
  // The body is a JSON object of its own: without its opening brace it continues ours.
  return end + encoded.body.copy(target, end, 1);
};

const encodeBatch = (channel: string, entries: readonly LogEntry[]): readonly Buffer[] => {
  const prefix = Buffer.from(`{"type":"message","channel":${JSON.stringify(channel)},`);
  const frames: Buffer[] = [];
  let parts: (Publication | Buffer)[] = [];
  let bytes = 0;
  const closeFrame = (): void => {
    const frame = Buffer.allocUnsafe(bytes + parts.length + 2);
    const isBatch = parts.length > 1;
    let at = 0;
    if (isBatch) frame[at++] = OPEN;
    for (const [index, part] of parts.entries()) {
      if (index > 0) frame[at++] = COMMA;
      at = writeEntry(frame, at, prefix, part);
    }
    if (isBatch) frame[at++] = CLOSE;
    frames.push(frame.subarray(0, at));
    parts = [];
    bytes = 0;
  };
  for (const entry of entries) {
    const part = isGap(entry) ? Buffer.from(JSON.stringify({ type: 'gap', channel, ...entry })) : entry;
    const size = isGap(entry) ? (part as Buffer).length : prefix.length + MAX_OFFSET_BYTES + entry.body.length;
    if (parts.length > 0 && bytes + size > MAX_BATCH_BYTES) closeFrame();
    parts.push(part);
    bytes += size;
  }
  closeFrame();
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
