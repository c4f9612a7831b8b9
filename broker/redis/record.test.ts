// Records and messages survive the way through bytes, and damaged ones are refused.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MESSAGE_VERSION, decodeRecord, decodeRun, keyBytesOf, recordBytes, writeRecord } from './record.ts';

interface Content {
  readonly key: string;
  readonly timeMs: number;
  readonly body: Uint8Array;
}

const encode = ({ key, timeMs, body }: Content): Buffer => {
  const keyBytes = keyBytesOf(key);
  const record = Buffer.alloc(recordBytes(keyBytes, body.length));
  expect(writeRecord(record, 0, keyBytes, key, timeMs, Buffer.from(body))).toBe(record.length);
  return record;
};

/** As publish.lua composes it. */
const message = (epoch: string, first: number, records: readonly Buffer[]): Buffer => {
  const header = Buffer.alloc(14);
  header[0] = MESSAGE_VERSION;
  header[1] = epoch.length;
  header.writeDoubleLE(first, 2);
  header.writeUInt32LE(records.length, 10);
  return Buffer.concat([header, Buffer.from(epoch), ...records]);
};

const content = fc.record({
  key: fc.string({ unit: 'grapheme', maxLength: 20 }),
  timeMs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  body: fc.uint8Array({ maxLength: 300 }),
});

test('what is written is read back, with contiguous offsets', () => {
  fc.assert(
    fc.property(
      fc.array(content, { minLength: 1, maxLength: 20 }),
      fc.string({ unit: fc.constantFrom('a', 'Z', '0', '9', '_', '-'), minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 2 ** 53 - 100 }),
      (contents, epoch, first) => {
        const run = decodeRun('c', message(epoch, first, contents.map(encode)));
        expect(run.epoch).toBe(epoch);
        expect(run.publications.map((p) => [p.offset, p.timeMs, p.key ?? '', [...p.body]])).toEqual(
          contents.map(({ key, timeMs, body }, i) => [first + i, timeMs, key, [...body]]),
        );
        expect(decodeRecord(encode(contents[0]!), 5)).toEqual({ ...run.publications[0], offset: 5 });
      },
    ),
  );
});

test('a cut message is refused, wherever it is cut', () => {
  const whole = message('epoch', 1, [encode({ key: 'k', timeMs: 1, body: Buffer.from('body') })]);
  for (let length = 0; length < whole.length; length += 1) {
    expect(() => decodeRun('c', whole.subarray(0, length))).toThrow(RangeError);
  }
  expect(() => decodeRun('c', message('epoch', 1, []))).toThrow('empty run');
});

test('another version is refused', () => {
  const other = message('epoch', 1, [encode({ key: '', timeMs: 1, body: Buffer.from('x') })]);
  other[0] = 2;
  expect(() => decodeRun('c', other)).toThrow('message version 2');
});

test('bodies do not share the memory the message was read into', () => {
  const read = message('epoch', 1, [encode({ key: '', timeMs: 1, body: Buffer.from('kept') })]);
  const run = decodeRun('c', read);
  read.fill(0);
  expect(run.publications[0]!.body.toString()).toBe('kept');
});

test('a key longer than its length field is refused', () => {
  expect(() => keyBytesOf('x'.repeat(65_536))).toThrow(RangeError);
});
