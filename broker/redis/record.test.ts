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
        for (const [i, one] of contents.entries()) {
          const { offset, timeMs, key = '', body, bodyBytes } = decodeRecord(encode(one), first + i);
          expect([offset, timeMs, key, [...body], bodyBytes]).toEqual([
            first + i,
            ...[one.timeMs, one.key, [...one.body], one.body.length],
          ]);
        }
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

test('what was read stays as it was, whatever is read after it', () => {
  const sizes = [0, 1, 100, 2_000, 3_000, 8_192, 70_000];
  const written = Array.from({ length: 200 }, (_, i) => ({
    key: i % 3 === 0 ? '' : `k${i}`,
    timeMs: i,
    body: Buffer.alloc(sizes[i % sizes.length]!, i),
  }));
  const read = written.map((one, i) => decodeRun('c', message('epoch', i + 1, [encode(one)])).publications[0]!);
  for (const [i, { key = '', timeMs, body, bodyBytes }] of read.entries()) {
    expect({ key, timeMs, body: body.toString('latin1') }).toEqual({
      ...written[i],
      body: written[i]!.body.toString('latin1'),
    });
    expect(bodyBytes).toBe(body.length);
  }
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
