// What the in-memory backplane holds stays bounded, however many channels and message ids come and go.
import { expect, test } from 'vitest';
import { createManualClock, range, requestFor } from '../conformance/harness.ts';
import { createMemoryBackplane } from './backplane.ts';

const HOUR_MS = 3_600_000;

test('message ids are forgotten when their window is over', () => {
  const clock = createManualClock();
  const backplane = createMemoryBackplane({ clock });
  for (const n of range(1, 500)) backplane.publish(requestFor('x', n, { messageId: `m${n}` }));
  expect(backplane.sizes().messageIds).toBe(500);
  clock.advance(5 * 60_000 + 1);
  backplane.publish(requestFor('x', 0, { messageId: 'last' }));
  expect(backplane.sizes().messageIds).toBe(1);
});

test('channels nobody publishes to any more give way to new ones', () => {
  const clock = createManualClock();
  const backplane = createMemoryBackplane({ clock, numberingTtlMs: HOUR_MS });
  for (const day of range(1, 50)) {
    for (const n of range(1, 100)) backplane.publish(requestFor(`day${day}:${n}`, n));
    clock.advance(2 * HOUR_MS);
  }
  expect(backplane.sizes().channels).toBeLessThanOrEqual(300);
});

test('a numbering that is over is never continued', () => {
  const clock = createManualClock();
  const backplane = createMemoryBackplane({ clock, numberingTtlMs: HOUR_MS });
  const before = backplane.publish(requestFor('x', 1));
  clock.advance(HOUR_MS + 1);
  const after = backplane.publish(requestFor('x', 2));
  expect(after.offset).toBe(1);
  expect(after.epoch).not.toBe(before.epoch);
});

test('a numbering that only reads have asked for is gone after an hour, one with a publication lives on', () => {
  const clock = createManualClock();
  const backplane = createMemoryBackplane({ clock });
  const { epoch } = backplane.publish(requestFor('published', 1));
  const first = backplane.position('asked');
  clock.advance(HOUR_MS - 10_000);
  // Which does not prolong it.
  expect(backplane.position('asked')).toEqual(first);
  clock.advance(20_000);
  expect(backplane.position('asked').epoch).not.toBe(first.epoch);
  const { epoch: late } = backplane.position('late');
  expect(backplane.publish(requestFor('late', 1))).toMatchObject({ epoch: late, offset: 1 });
  clock.advance(48 * HOUR_MS);
  expect(backplane.position('published')).toEqual({ epoch, offset: 1 });
  expect(backplane.position('late')).toEqual({ epoch: late, offset: 1 });
});

test('channels that were only read give way within hours', () => {
  const clock = createManualClock();
  const backplane = createMemoryBackplane({ clock });
  for (const hour of range(1, 50)) {
    for (const n of range(1, 100)) backplane.position(`hour${hour}:${n}`);
    clock.advance(HOUR_MS + 1);
  }
  expect(backplane.sizes().channels).toBeLessThanOrEqual(300);
});

test('epochs come from the injected source', () => {
  let n = 0;
  const backplane = createMemoryBackplane({ randomId: () => `epoch-${(n += 1)}` });
  expect(backplane.position('x')).toEqual({ epoch: 'epoch-1', offset: 0 });
  expect(backplane.publish(requestFor('y', 1)).epoch).toBe('epoch-2');
});
