// Liveness: a dead connection is found, a healthy one is never closed.
import { expect, it } from 'vitest';
import { createManualClock } from '../testing/manual-clock.ts';
import { createMonitor } from './monitor.ts';

const start = () => {
  const clock = createManualClock();
  const seen: string[] = [];
  const monitor = createMonitor({
    clock,
    idleMs: 30_000,
    pongTimeoutMs: 5000,
    sendPing: () => seen.push('ping'),
    onDead: () => seen.push('dead'),
  });
  return { clock, seen, monitor };
};

it('declares a connection dead when silence is not answered after a ping', async () => {
  const { clock, seen } = start();
  await clock.advance(30_000);
  expect(seen).toEqual(['ping']);
  await clock.advance(4999);
  expect(seen).toEqual(['ping']);
  await clock.advance(1);
  expect(seen).toEqual(['ping', 'dead']);
  expect(clock.timers).toBe(0);
});

it('asks nothing while messages arrive', async () => {
  const { clock, seen, monitor } = start();
  for (let second = 0; second < 300; second += 20) {
    await clock.advance(20_000);
    monitor.received();
  }
  expect(seen).toEqual([]);
  expect(clock.timers).toBe(1);
});

it('takes anything received as the answer and goes on watching', async () => {
  const { clock, seen, monitor } = start();
  await clock.advance(31_000);
  monitor.received();
  await clock.advance(29_000);
  expect(seen).toEqual(['ping']);
  await clock.advance(2000);
  expect(seen).toEqual(['ping', 'ping']);
});

it('asks before it judges after the machine slept', async () => {
  const { clock, seen, monitor } = start();
  await clock.sleep(8 * 3600_000);
  expect(seen).toEqual(['ping']);
  monitor.received();
  await clock.advance(5000);
  expect(seen).toEqual(['ping']);
});

it('asks again when the machine slept while it waited for the answer', async () => {
  const { clock, seen } = start();
  await clock.advance(30_000);
  await clock.sleep(3600_000);
  expect(seen).toEqual(['ping', 'ping']);
  await clock.advance(5000);
  expect(seen).toEqual(['ping', 'ping', 'dead']);
});

it('leaves no timer when it is stopped', async () => {
  const { clock, seen, monitor } = start();
  await clock.advance(30_000);
  monitor.stop();
  await clock.advance(60_000);
  expect(seen).toEqual(['ping']);
  expect(clock.timers).toBe(0);
});

it('hears an answer that lay waiting while the thread was busy, before it judges', async () => {
  const { clock, seen, monitor } = start();
  await clock.advance(30_000);
  // Due together with the verdict, and behind it: a socket's events come after the timers.
  clock.after(5000, () => monitor.received());
  await clock.sleep(5500);
  await clock.advance(5000);
  expect(seen).toEqual(['ping']);
});
