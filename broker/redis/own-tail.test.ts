import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createOwnTail } from './own-tail.ts';
import { decodeRecord } from './record.ts';

const MAX_AGE_MS = 100;
const HISTORY = { size: 10, ttlMs: 1000 } as const;
const requestOf = (data: string, more: { key?: string; messageId?: string } = {}) => ({
  channel: 'c',
  body: Buffer.from(data),
  timeMs: 7,
  history: HISTORY,
  ...more,
});

it('keeps what was acknowledged as the log has it, whatever the publisher does with its memory', () => {
  const tail = createOwnTail();
  const request = requestOf('kept', { key: 'k', messageId: 'm' });
  tail.add(request, { epoch: 'e', offset: 3 }, 0);
  tail.add(requestOf('plain'), { epoch: 'e', offset: 4 }, 0);
  request.body.fill(0);
  expect(
    tail.all().map(({ channel, messageId, epoch, offset, record }) => {
      const { key, timeMs, body } = decodeRecord(record, offset);
      return [channel, messageId, epoch, offset, key, timeMs, body.toString()];
    }),
  ).toEqual([
    ['c', 'm', 'e', 3, 'k', 7, 'kept'],
    ['c', undefined, 'e', 4, undefined, 7, 'plain'],
  ]);
});

it('keeps the newest, within its bounds of bytes and of time', () => {
  const tail = createOwnTail({ maxBytes: 10_000, maxAgeMs: 1000 });
  const offsets = (): number[] => tail.all().map(({ offset }) => offset);
  const add = (offset: number, atMs: number, bytes = 954): void =>
    tail.add(requestOf('x'.repeat(bytes)), { epoch: 'e', offset }, atMs);
  // 1 000 bytes each, with the heads and the names.
  for (let offset = 1; offset <= 5000; offset++) add(offset, 0);
  expect(offsets()).toEqual([4991, 4992, 4993, 4994, 4995, 4996, 4997, 4998, 4999, 5000]);
  add(5001, 1000);
  expect(offsets()).toHaveLength(10);
  add(5002, 1001);
  expect(offsets()).toEqual([5001, 5002]);
  add(5003, 1001, 10_000);
  expect(offsets()).toEqual([]);
});

it('keeps a run of the newest, as they were, whatever their sizes', () => {
  const maxBytes = 2000;
  const HEADS_BYTES = 44;
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
  const one = fc.record({
    channel: text,
    epoch: text,
    messageId: fc.option(text, { nil: undefined }),
    key: fc.option(text, { nil: undefined }),
    body: fc.string({ maxLength: 700 }),
    waitMs: fc.integer({ min: 0, max: 20 }),
  });
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 60 }), (publications) => {
      const tail = createOwnTail({ maxBytes, maxAgeMs: MAX_AGE_MS });
      let atMs = 0;
      const sizes: number[] = [];
      const times: number[] = [];
      for (const [offset, { channel, epoch, messageId, key, body, waitMs }] of publications.entries()) {
        atMs += waitMs;
        times.push(atMs);
        sizes.push(HEADS_BYTES + Buffer.byteLength(channel + epoch + (messageId ?? '') + (key ?? '') + body));
        tail.add(
          { channel, messageId, key, body: Buffer.from(body), timeMs: 7, history: HISTORY },
          { epoch, offset },
          atMs,
        );
        const kept = tail.all().map((entry) => {
          const record = decodeRecord(entry.record, entry.offset);
          const { channel, epoch, messageId } = entry;
          return { channel, epoch, messageId, key: record.key, body: record.body.toString(), offset: entry.offset };
        });
        const added = publications.slice(0, offset + 1).map(({ channel, epoch, messageId, key, body }, index) => ({
          channel,
          epoch,
          messageId,
          key,
          body,
          offset: index,
        }));
        expect(kept).toEqual(added.slice(added.length - kept.length));
        expect(kept.length).toBeGreaterThan(0);
        const bytesFrom = (index: number): number => sizes.slice(index).reduce((sum, size) => sum + size, 0);
        expect(bytesFrom(sizes.length - kept.length)).toBeLessThanOrEqual(maxBytes);
        // What went was old, or there was no room: at most the largest entry's bytes lie idle where the memory begins anew.
        const gone = sizes.length - kept.length - 1;
        if (gone < 0 || atMs - times[gone]! > MAX_AGE_MS) continue;
        expect(bytesFrom(gone) + Math.max(...sizes)).toBeGreaterThan(maxBytes);
      }
    }),
  );
});
