import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createExpiry, type Expiring } from './expiry.ts';

interface Item extends Expiring {
  readonly name: number;
  expiresAtMs: number;
}
const item = (name: number, expiresAtMs: number): Item => ({ name, expiresAtMs, expirySlot: undefined });
const GRACE_MS = 25_000;

let expired: number[];
const start = () =>
  createExpiry<Item>({
    clock: { nowMs: () => Date.now() },
    graceMs: GRACE_MS,
    onExpired: ({ name }) => void expired.push(name),
  });
beforeEach(() => {
  expired = [];
  vi.useFakeTimers({ now: 1_800_000_000_000, toFake: ['Date', 'setInterval', 'clearInterval', 'setImmediate'] });
});
afterEach(() => vi.useRealTimers());

it('ends items after their end and grace, never before, within a second', () => {
  const expiry = start();
  expiry.schedule(item(1, Date.now() + 60_000));
  vi.advanceTimersByTime(60_000 + GRACE_MS - 1);
  expect(expired).toEqual([]);
  vi.advanceTimersByTime(1001);
  expect([expired, expiry.size, vi.getTimerCount()]).toEqual([[1], 0, 0]);
});

it('a later end counts from then on, an earlier one as well, and one without end holds nothing', () => {
  const expiry = start();
  const [later, earlier, never] = [item(1, Date.now() + 10), item(2, Date.now() + 1e6), item(3, Date.now() + 10)];
  for (const one of [later, earlier, never]) expiry.schedule(one);
  later.expiresAtMs += 50_000;
  earlier.expiresAtMs = Date.now() + 10;
  never.expiresAtMs = Infinity;
  for (const one of [later, earlier, never]) expiry.schedule(one);
  vi.advanceTimersByTime(GRACE_MS + 1100);
  expect([expired, expiry.size]).toEqual([[2], 1]);
  vi.advanceTimersByTime(50_000);
  expect([expired, expiry.size]).toEqual([[2, 1], 0]);
});

it('an item that is gone is held no more', () => {
  const expiry = start();
  const items = Array.from({ length: 1000 }, (_, n) => item(n, Date.now() + 3_600_000));
  for (const one of items) expiry.schedule(one);
  for (const one of items) expiry.cancel(one);
  expect(expiry.size).toBe(0);
  vi.advanceTimersByTime(1000);
  expect(vi.getTimerCount()).toBe(0);
});

it('thousands that end together end in slices', () => {
  const expiry = start();
  for (let n = 0; n < 5000; n++) expiry.schedule(item(n, Date.now()));
  vi.setSystemTime(Date.now() + GRACE_MS + 1000);
  vi.advanceTimersToNextTimer();
  expect(expired.length).toBe(200);
  vi.advanceTimersByTime(100);
  expect(expired.length).toBe(5000);
});

it('what is over already when it comes ends at once', () => {
  const expiry = start();
  expiry.schedule(item(1, Date.now() - 1e9));
  vi.advanceTimersByTime(1000);
  expect(expired).toEqual([1]);
});

it('ends each item once, after its last end, whatever happens in which order', () => {
  const step = fc.record({
    name: fc.nat(4),
    inMs: fc.oneof(fc.integer({ min: -1000, max: 100_000 }), fc.constant(Infinity)),
    waitMs: fc.nat(40_000),
    cancels: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      expired = [];
      const expiry = start();
      const items = Array.from({ length: 5 }, (_, name) => item(name, Infinity));
      const due = new Map<number, number>();
      for (const { name, inMs, waitMs, cancels } of steps) {
        const one = items[name]!;
        expired = [];
        if (cancels) {
          expiry.cancel(one);
          due.delete(name);
        } else {
          one.expiresAtMs = Date.now() + inMs;
          expiry.schedule(one);
          if (inMs === Infinity) due.delete(name);
          else due.set(name, one.expiresAtMs + GRACE_MS);
        }
        vi.advanceTimersByTime(waitMs);
        for (const [known, atMs] of [...due]) {
          if (expired.includes(known)) {
            expect(atMs).toBeLessThanOrEqual(Date.now());
            due.delete(known);
          } else expect(atMs).toBeGreaterThan(Date.now() - 1002);
        }
        expect(expiry.size).toBe(due.size);
      }
      expiry.close();
    }),
  );
});
