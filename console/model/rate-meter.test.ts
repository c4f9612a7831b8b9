// The rate meter follows bursts, forgets them, and never divides by too little.
import { describe, expect, it } from 'vitest';
import { createRateMeter } from './rate-meter.ts';

describe('createRateMeter', () => {
  it('is zero before the first event', () => {
    expect(createRateMeter().perSecond(5000)).toBe(0);
  });

  it('does not make a high rate of one early event', () => {
    const meter = createRateMeter();
    meter.add(1000);
    expect(meter.perSecond(1001)).toBe(1);
  });

  it('shows a steady rate as it is', () => {
    const meter = createRateMeter();
    for (let nowMs = 10_000; nowMs < 20_000; nowMs += 10) meter.add(nowMs);
    expect(meter.perSecond(20_000)).toBeGreaterThan(97);
    expect(meter.perSecond(20_000)).toBeLessThan(103);
  });

  it('counts several events at once', () => {
    const meter = createRateMeter();
    meter.add(0, 500);
    meter.add(1900, 500);
    expect(meter.perSecond(2000)).toBe(500);
  });

  it('forgets events older than its window', () => {
    const meter = createRateMeter();
    meter.add(0, 1000);
    expect(meter.perSecond(2900)).toBeGreaterThan(0);
    expect(meter.perSecond(3000)).toBe(0);
  });

  it('starts anew after a silence of any length', () => {
    const meter = createRateMeter();
    meter.add(0, 1000);
    meter.add(3_600_000, 3);
    expect(meter.perSecond(3_600_000)).toBeCloseTo(3 / 2.75, 5);
  });
});
