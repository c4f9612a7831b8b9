// The queue before the script calls: order, bounds and waiting time.
import { expect, test } from 'vitest';
import { BrokerUnavailableError } from '../broker.ts';
import { range, requestFor } from '../conformance/harness.ts';
import { toPending, type PendingPublish } from './publish-call.ts';
import { createPublishQueue } from './publish-queue.ts';

const failures: Error[] = [];
const pending = (n: number, queuedAtMs = 0, data: unknown = n): PendingPublish =>
  toPending(
    requestFor('c', data, { messageId: String(n) }),
    queuedAtMs,
    () => undefined,
    (error) => failures.push(error),
  );

const idsOf = (publishes: readonly PendingPublish[]): number[] =>
  publishes.map((each) => Number(each.request.messageId));

test('publications leave in order, at most 256 at a time', () => {
  const queue = createPublishQueue({ maxBytes: 1e9, maxWaitMs: 1_000 });
  const taken: number[] = [];
  for (const n of range(1, 5_000)) {
    expect(queue.push(pending(n))).toBe(true);
    if (n % 40 === 0) taken.push(...idsOf(queue.take(0).slice(0, 256)));
  }
  for (let batch = queue.take(0); batch.length > 0; batch = queue.take(0)) {
    expect(batch.length).toBeLessThanOrEqual(256);
    taken.push(...idsOf(batch));
  }
  expect(taken).toEqual(range(1, 5_000));
});

test('a call ends before a mebibyte, but a larger publication still leaves alone', () => {
  const queue = createPublishQueue({ maxBytes: 1e9, maxWaitMs: 1_000 });
  const sizes = [400_000, 400_000, 400_000, 3_000_000, 10];
  for (const [n, size] of sizes.entries()) queue.push(pending(n, 0, 'x'.repeat(size)));
  expect([queue.take(0), queue.take(0), queue.take(0), queue.take(0), queue.take(0)].map(idsOf)).toEqual([
    [0, 1],
    [2],
    [3],
    [4],
    [],
  ]);
});

test('a full queue refuses, and takes again when something left', () => {
  const queue = createPublishQueue({ maxBytes: 1_000, maxWaitMs: 1_000 });
  let accepted = 0;
  while (queue.push(pending(accepted, 0, 'x'.repeat(100)))) accepted += 1;
  expect(accepted).toBeGreaterThan(4);
  expect(accepted).toBeLessThan(12);
  queue.take(0);
  expect(queue.push(pending(0))).toBe(true);
});

test('what waited too long is rejected and never sent', () => {
  const queue = createPublishQueue({ maxBytes: 1e9, maxWaitMs: 1_000 });
  failures.length = 0;
  queue.push(pending(1, 0));
  queue.push(pending(2, 500));
  expect(idsOf(queue.take(1_200))).toEqual([2]);
  expect(failures).toHaveLength(1);
  expect(failures[0]).toBeInstanceOf(BrokerUnavailableError);
});

test('a whole call waits from 256 publications or a mebibyte on', () => {
  const many = createPublishQueue({ maxBytes: 1e9, maxWaitMs: 1_000 });
  for (const n of range(1, 255)) many.push(pending(n));
  expect(many.holdsFullCall).toBe(false);
  many.push(pending(256));
  expect(many.holdsFullCall).toBe(true);
  many.take(0);
  expect(many.holdsFullCall).toBe(false);

  const large = createPublishQueue({ maxBytes: 1e9, maxWaitMs: 1_000 });
  large.push(pending(1, 0, 'x'.repeat(600_000)));
  expect(large.holdsFullCall).toBe(false);
  large.push(pending(2, 0, 'x'.repeat(600_000)));
  expect(large.holdsFullCall).toBe(true);
});
