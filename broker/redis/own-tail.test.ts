import { expect, it } from 'vitest';
import { createOwnTail } from './own-tail.ts';
import { decodeRecord } from './record.ts';

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
  const add = (offset: number, atMs: number): void =>
    tail.add(requestOf('x'.repeat(886)), { epoch: 'e', offset }, atMs);
  // 1 012 bytes each, with the record's head and the entry.
  for (let offset = 1; offset <= 5000; offset++) add(offset, 0);
  expect(offsets()).toEqual([4992, 4993, 4994, 4995, 4996, 4997, 4998, 4999, 5000]);
  add(5001, 1000);
  expect(offsets()).toHaveLength(9);
  add(5002, 1001);
  expect(offsets()).toEqual([5001, 5002]);
});
