import { expect, it } from 'vitest';
import { createMaxAge } from './max-age.ts';
import { movable, type RecordingMovable } from './test-movable.ts';

const HOUR_MS = 3_600_000;

const setUp = (settings: { maxAgeMs?: number; movesPerSecond?: number } = {}) => {
  const world = { nowMs: 0, random: 0.5, connections: [] as RecordingMovable[] };
  const maxAge = createMaxAge({
    connections: world.connections,
    departures: {
      ask(connection, times, reason) {
        connection.departure = { reason, deadlineMs: world.nowMs + times.withinMs, handedOver: false };
        connection.send({ type: 'reconnect', ...times, reason });
      },
    },
    settings: { maxAgeMs: HOUR_MS, movesPerSecond: 100, moveTimeoutMs: 5000, ...settings },
    random: () => world.random,
    clock: { nowMs: () => world.nowMs, monotonicMs: () => world.nowMs },
  });
  const open = (count: number): void => {
    for (let n = 0; n < count; n++) {
      const connection = movable();
      maxAge.handleOpened(connection);
      world.connections.push(connection);
    }
  };
  const lookAt = (nowMs: number): number => {
    world.nowMs = nowMs;
    maxAge.look();
    return world.connections.filter(({ asked }) => asked.length > 0).length;
  };
  return { world, open, lookAt };
};

it('asks nobody before its time, and each once', () => {
  const { world, open, lookAt } = setUp();
  open(3);
  world.connections[1]!.state = 'open';
  expect(lookAt(HOUR_MS - 1)).toBe(0);
  expect(lookAt(HOUR_MS + 1000)).toBe(2);
  expect(lookAt(HOUR_MS + 2000)).toBe(2);
  const [push] = world.connections[0]!.asked;
  expect(push!.reason).toBe('max_age');
  expect(push!.afterMs).toBeLessThan(1000);
  expect(push!.withinMs).toBe(push!.afterMs + 5000);
});

it('gives each an age of its own within a tenth, so that those that came together do not go together', () => {
  const { world, open, lookAt } = setUp({ maxAgeMs: 1000 * 1000, movesPerSecond: 10_000 });
  for (let n = 0; n < 1000; n++) {
    world.random = n / 1000;
    open(1);
  }
  expect(lookAt(899_999)).toBe(0);
  const perStep: number[] = [];
  for (let seen = 0, atMs = 900_000; atMs < 1_100_000; atMs += 20_000) {
    const now = lookAt(atMs + 19_999);
    perStep.push(now - seen);
    seen = now;
  }
  expect(perStep).toEqual(new Array(10).fill(100));
});

it('asks no more a second than configured, also after a pause of the loop', () => {
  const { open, lookAt } = setUp({ movesPerSecond: 10 });
  open(100);
  expect(lookAt(2 * HOUR_MS)).toBe(10);
  expect(lookAt(2 * HOUR_MS + 1000)).toBe(20);
  expect(lookAt(2 * HOUR_MS + 60_000)).toBe(30);
});

it('reaches one that is due behind one that is not yet', () => {
  const { world, open, lookAt } = setUp();
  world.random = 0.99;
  open(1);
  world.random = 0;
  open(1);
  expect(lookAt(0.95 * HOUR_MS)).toBe(1);
  expect(world.connections[1]!.asked).toHaveLength(1);
});

it('lets connections live for ever when it is off', () => {
  const { open, lookAt } = setUp({ maxAgeMs: 0 });
  open(5);
  expect(lookAt(1000 * HOUR_MS)).toBe(0);
});
