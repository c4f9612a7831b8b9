import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createMetricsRegistry } from '../observability/registry.ts';
import { createDepartures, type Departures } from './departures.ts';
import { movable, type RecordingMovable } from './test-movable.ts';

let departures: Departures<RecordingMovable>;
let asked: RecordingMovable[];
const metrics = createMetricsRegistry();
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  const clock = { nowMs: () => Date.now(), monotonicMs: () => Date.now() };
  departures = createDepartures({ clock, metrics, onAsked: (connection) => asked.push(connection) });
});
afterEach(() => {
  departures.close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

it('tells the client its times and whoever keeps its session that it goes', () => {
  const connection = movable();
  departures.ask(connection, { afterMs: 100, withinMs: 5000 }, 'drain');
  expect(connection.asked).toEqual([{ type: 'reconnect', afterMs: 100, withinMs: 5000, reason: 'drain' }]);
  expect(asked).toEqual([connection]);
  expect([departures.size, departures.count('drain'), departures.count('max_age')]).toEqual([1, 1, 0]);
});

it.each([
  ['drain', false, { code: 1012, reason: 'restart' }],
  ['max_age', false, { code: 3000, reason: 'max_age' }],
  ['rebalance', false, undefined],
  ['deaf', false, undefined],
  // Its session is another connection's: two would be served for ever.
  ['rebalance', true, { code: 3000, reason: 'rebalance' }],
  ['deaf', true, { code: 3000, reason: 'deaf' }],
] as const)('beyond its time one asked for %s (handed over: %s) ends with %j', async (reason, handedOver, closed) => {
  const connection = movable();
  departures.ask(connection, { afterMs: 0, withinMs: 5000 }, reason);
  connection.departure!.handedOver = handedOver;
  await pass(4900);
  expect(connection.closed).toBeUndefined();
  await pass(400);
  expect(connection.closed).toEqual(closed);
  expect([connection.departure, departures.size]).toEqual([null, 0]);
});

it('forgets who is gone, and needs no timer without anybody', async () => {
  const connection = movable();
  departures.ask(connection, { afterMs: 0, withinMs: 1000 }, 'drain');
  departures.handleClosed(connection);
  expect([departures.size, vi.getTimerCount()]).toEqual([0, 0]);
  await pass(2000);
  expect(connection.closed).toBeUndefined();
});

it('goes by the newest order, and does not forget that the session has gone', async () => {
  const connection = movable();
  departures.ask(connection, { afterMs: 0, withinMs: 60_000 }, 'rebalance');
  connection.departure!.handedOver = true;
  departures.ask(connection, { afterMs: 0, withinMs: 1000 }, 'drain');
  expect(connection.departure).toMatchObject({ reason: 'drain', handedOver: true });
  await pass(1300);
  expect(connection.closed).toEqual({ code: 1012, reason: 'restart' });
});
