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

/**
 * A publication where its record lies: one object, which takes out of it what it is asked for. Rings keep hundreds of thousands, and every
 * collection of the old generation visits all that each is made of.
 */
class StoredPublication implements Publication {
  readonly offset: number;
  readonly key: string | undefined;
  private readonly memory: Buffer;
  private readonly at: number;

  constructor(memory: Buffer, at: number, offset: number) {
    this.memory = memory;
    this.at = at;
    this.offset = offset;
    const keyBytes = this.keyBytes;
    this.key = keyBytes === 0 ? undefined : memory.toString('utf8', this.bodyAt - keyBytes, this.bodyAt);
  }

  get timeMs(): number {
    return this.memory.readDoubleLE(this.at + 6);
  }

  get bodyBytes(): number {
    return this.memory.readUInt32LE(this.at);
  }

  get body(): Buffer {
    return this.memory.subarray(this.bodyAt, this.end);
  }

  /** Where the next record begins. */
  get end(): number {
    return this.bodyAt + this.bodyBytes;
  }

  private get keyBytes(): number {
    return this.memory.readUInt16LE(this.at + 4);
  }

  private get bodyAt(): number {
    return this.at + RECORD_HEADER_BYTES + this.keyBytes;
  }
}

/** Reads the record at `at`. Throws when it does not end at `limit` or before. */
const readRecord = (memory: Buffer, at: number, limit: number, offset: number): StoredPublication => {
  const publication = at + RECORD_HEADER_BYTES > limit ? undefined : new StoredPublication(memory, at, offset);
  if (publication === undefined || publication.end > limit) throw new RangeError('truncated record');
  return publication;
};

/** What is kept is copied into pieces of memory of this size, so that not each message has one of its own. Small: one entry keeps all of it. */
const PIECE_BYTES = 8 * 1024;
let piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
let pieceEnd = 0;

interface Place {
  readonly memory: Buffer;
  readonly at: number;
}

const reserve = (bytes: number): Place => {
  if (bytes > PIECE_BYTES / 4) return { memory: Buffer.allocUnsafeSlow(bytes), at: 0 };
  if (pieceEnd + bytes > PIECE_BYTES) {
    piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    pieceEnd = 0;
  }
  const at = pieceEnd;
  pieceEnd += bytes;
  return { memory: piece, at };
};

/** Copies into memory that nobody else writes: a view would keep the whole chunk alive that was read, and the parser uses its memory again. */
const keep = (bytes: Buffer): Place => {
  const place = reserve(bytes.length);
  bytes.copy(place.memory, place.at);
  return place;
};

/** Decodes one stream entry into memory of its own. */
export const decodeRecord = (record: Buffer, offset: number): Publication => {
  const { memory, at } = keep(record);
  return readRecord(memory, at, at + record.length, offset);
};

/** Decodes a pub/sub message into memory of its own. Throws on anything that publish.lua did not write. */
export const decodeRun = (channel: string, message: Buffer): PublicationRun => {
  if (message[0] !== MESSAGE_VERSION) throw new RangeError(`message version ${message[0] ?? 'none'}`);
  const first = message.readDoubleLE(2);
  const count = message.readUInt32LE(10);
  if (count === 0) throw new RangeError('empty run');
  const recordsAt = MESSAGE_HEADER_BYTES + message[1]!;
  const epoch = message.toString('latin1', MESSAGE_HEADER_BYTES, recordsAt);
  const records = message.subarray(recordsAt);
  const { memory, at } = keep(records);
  const publications: Publication[] = [];
  for (let i = 0, next = at; i < count; i += 1) {
    const publication = readRecord(memory, next, at + records.length, first + i);
    publications.push(publication);
    next = publication.end;
  }
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
  const memory = Buffer.from(message);
  const count = memory.readUInt32LE(1);
  if (count === 0) throw new RangeError('empty run');
  const messages: EphemeralMessage[] = [];
  for (let i = 0, next = EPHEMERAL_HEADER_BYTES; i < count; i += 1) {
    const publication = readRecord(memory, next, memory.length, 0);
    messages.push(publication);
    next = publication.end;
  }
  return { channel, messages };
};
