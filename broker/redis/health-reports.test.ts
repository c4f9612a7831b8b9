// Begin and end of an outage are told at once, changes within it only when they last.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BrokerHealth } from '../broker.ts';
import { createHealthReports, type HealthReports } from './health-reports.ts';

const READY: BrokerHealth = { state: 'ready' };
const degraded = (affected: 'subscriber' | 'publisher' | 'both', reason = 'closed'): BrokerHealth => ({
  state: 'degraded',
  affected,
  reason,
});

let told: BrokerHealth[];
let reports: HealthReports;

beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  reports = createHealthReports({ settleMs: 1_000, report: (health) => told.push(health) });
});

afterEach(() => {
  reports.close();
  vi.useRealTimers();
});

test('nothing is told before the first ready', () => {
  reports.update(degraded('both'));
  reports.update(degraded('publisher'));
  vi.runAllTimers();
  expect(told).toEqual([]);
  reports.update(READY);
  expect(told).toEqual([READY]);
});

test('links that break and come back one after the other are one outage', () => {
  reports.update(READY);
  for (const affected of ['subscriber', 'both'] as const) reports.update(degraded(affected));
  vi.advanceTimersByTime(0);
  expect(told).toEqual([READY, degraded('both')]);
  vi.advanceTimersByTime(60_000);
  for (const affected of ['publisher', 'subscriber'] as const) {
    reports.update(degraded(affected));
    vi.advanceTimersByTime(300);
  }
  reports.update(READY);
  vi.runAllTimers();
  expect(told).toEqual([READY, degraded('both'), READY]);
});

test.each([
  ['who is affected', degraded('both')],
  ['the reason', degraded('subscriber', 'no answer')],
])('a change of %s that lasts is told once', (_, change) => {
  reports.update(READY);
  reports.update(degraded('subscriber'));
  vi.advanceTimersByTime(0);
  reports.update(change);
  reports.update(change);
  vi.advanceTimersByTime(999);
  expect(told).toHaveLength(2);
  vi.advanceTimersByTime(1);
  expect(told).toEqual([READY, degraded('subscriber'), change]);
  reports.update(change);
  vi.runAllTimers();
  expect(told).toHaveLength(3);
});

test('what nobody could see is not told', () => {
  reports.update(READY);
  reports.update(READY);
  reports.update(degraded('both'));
  reports.update(READY);
  vi.runAllTimers();
  expect(told).toEqual([READY]);
});

test('nothing is told after closing', () => {
  reports.update(READY);
  reports.update(degraded('both'));
  reports.close();
  vi.runAllTimers();
  expect(told).toEqual([READY]);
});
