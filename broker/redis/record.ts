// The binary forms of publications in Redis: the record in a stream entry, and the message that carries a run of records.
//
// Record (little endian):  u32 body length | u16 key length | f64 time, Unix ms | key, UTF-8 | body
// Message:                 u8 version | u8 epoch length | f64 first offset | u32 count | epoch | records
// Ephemeral message:       u8 version, 2 | u32 count | records
// The message is composed by publish.lua from the records; nothing on this path is parsed as JSON.
import type { EphemeralMessage, EphemeralRun, PublicationRun } from '../broker.ts';
import type { Publication } from '../publication.ts';

export const MESSAGE_VERSION = 1;
const EPHEMERAL_VERSION = 2;
const EPHEMERAL_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 14;
const RECORD_HEADER_BYTES = 14;
const MAX_KEY_BYTES = 0xffff;

export const recordBytes = (keyBytes: number, bodyBytes: number): number => RECORD_HEADER_BYTES + keyBytes + bodyBytes;

/** Bytes of a conflation key. Throws `RangeError` beyond 65 535. */
export const keyBytesOf = (key: string | undefined): number => {
  if (key === undefined) return 0;
  const bytes = Buffer.byteLength(key);
  if (bytes > MAX_KEY_BYTES) throw new RangeError(`key of ${bytes} bytes; at most ${MAX_KEY_BYTES}`);
  return bytes;
};

/** Writes a record at `at` and returns the position behind it. An empty key is the same as none. */
export const writeRecord = (
  into: Buffer,
  at: number,
  keyBytes: number,
  key: string | undefined,
  timeMs: number,
  body: Buffer,
): number => {
  into.writeUInt32LE(body.length, at);
  into.writeUInt16LE(keyBytes, at + 4);
  into.writeDoubleLE(timeMs, at + 6);
  const keyAt = at + RECORD_HEADER_BYTES;
  if (key !== undefined && keyBytes > 0) into.write(key, keyAt, 'utf8');
  into.set(body, keyAt + keyBytes);
  return keyAt + keyBytes + body.length;
};

interface Cursor {
  at: number;
}

/** Reads the record at the cursor and moves it behind; the body is a view of `from`. Throws on a truncated record. */
const readRecord = (from: Buffer, cursor: Cursor, offset: number): Publication => {
  const { at } = cursor;
  const bodyBytes = from.readUInt32LE(at);
  const keyBytes = from.readUInt16LE(at + 4);
  const timeMs = from.readDoubleLE(at + 6);
  const bodyAt = at + RECORD_HEADER_BYTES + keyBytes;
  const end = bodyAt + bodyBytes;
  if (end > from.length) throw new RangeError('truncated record');
  cursor.at = end;
  const key = keyBytes === 0 ? undefined : from.toString('utf8', at + RECORD_HEADER_BYTES, bodyAt);
  return { offset, timeMs, key, body: from.subarray(bodyAt, end) };
};

/** Decodes one stream entry into memory of its own. */
export const decodeRecord = (record: Buffer, offset: number): Publication =>
  readRecord(Buffer.from(record), { at: 0 }, offset);

/**
 * Decodes a pub/sub message. It is copied once: a view would keep the whole chunk alive that was read from the socket,
 * and the parser uses its memory again. Throws on anything that publish.lua did not write.
 */
export const decodeRun = (channel: string, message: Buffer): PublicationRun => {
  const own = Buffer.from(message);
  if (own[0] !== MESSAGE_VERSION) throw new RangeError(`message version ${own[0] ?? 'none'}`);
  const cursor = { at: MESSAGE_HEADER_BYTES + own[1]! };
  const first = own.readDoubleLE(2);
  const count = own.readUInt32LE(10);
  if (count === 0) throw new RangeError('empty run');
  const epoch = own.toString('latin1', MESSAGE_HEADER_BYTES, cursor.at);
  if (count === 1) return { channel, epoch, publications: [readRecord(own, cursor, first)] };
  const publications: Publication[] = [];
  for (let i = 0; i < count; i += 1) publications.push(readRecord(own, cursor, first + i));
  return { channel, epoch, publications };
};

/** Whether a pub/sub message carries ephemeral messages instead of a run of publications. */
export const isEphemeral = (message: Buffer): boolean => message[0] === EPHEMERAL_VERSION;

export const encodeEphemeral = (messages: readonly EphemeralMessage[]): Buffer => {
  const keyBytes = messages.map(({ key }) => keyBytesOf(key));
  const bytes = messages.reduce(
    (sum, { body }, index) => sum + recordBytes(keyBytes[index]!, body.length),
    EPHEMERAL_HEADER_BYTES,
  );
  const into = Buffer.allocUnsafe(bytes);
  into[0] = EPHEMERAL_VERSION;
  into.writeUInt32LE(messages.length, 1);
  let at = EPHEMERAL_HEADER_BYTES;
  for (const [index, { body, timeMs, key }] of messages.entries()) {
    at = writeRecord(into, at, keyBytes[index]!, key, timeMs, body);
  }
  return into;
};

/** As `decodeRun`, for what `encodeEphemeral` wrote. */
export const decodeEphemeral = (channel: string, message: Buffer): EphemeralRun => {
  const own = Buffer.from(message);
  const count = own.readUInt32LE(1);
  if (count === 0) throw new RangeError('empty run');
  const cursor = { at: EPHEMERAL_HEADER_BYTES };
  const messages: EphemeralMessage[] = [];
  for (let i = 0; i < count; i += 1) messages.push(readRecord(own, cursor, 0));
  return { channel, messages };
};
