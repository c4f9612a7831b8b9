// Latency is measured with the server's clock, however wrong the local one is.
import { describe, expect, it } from 'vitest';
import { delayOf, estimateServerClock, quantile } from './latency.ts';

describe('estimateServerClock', () => {
  it('trusts the local clock before it knows better', () => {
    expect(estimateServerClock().offsetMs).toBe(0);
  });

  it('adds half a round trip, which the stamped time spent on its way', () => {
    const estimate = estimateServerClock();
    estimate.observeStamp(10_000, 15_020);
    estimate.observeRoundTrip(40);
    expect(estimate.offsetMs).toBe(-5000);
  });

  it('is not misled by messages and round trips that were held up', () => {
    const estimate = estimateServerClock();
    estimate.observeStamp(10_000, 10_001);
    estimate.observeRoundTrip(2);
    estimate.observeStamp(20_000, 20_900);
    estimate.observeRoundTrip(1500);
    estimate.observeStamp(5000, 30_000);
    expect(estimate.offsetMs).toBe(0);
  });

  it('corrects itself when the first message was held up and a later one was not', () => {
    const estimate = estimateServerClock();
    estimate.observeStamp(10_000, 10_050);
    estimate.observeStamp(11_000, 11_000);
    expect(estimate.offsetMs).toBe(0);
  });
});

describe('delayOf', () => {
  const arrival = { timeMs: 20_000, receivedAtMs: 25_012, offsetMs: -5000, liveSinceMs: 10_000 };

  it('corrects the local clock by the offset', () => {
    expect(delayOf(arrival)).toEqual({ kind: 'live', ms: 12 });
  });

  it('is never negative', () => {
    expect(delayOf({ ...arrival, receivedAtMs: 24_990 })).toEqual({ kind: 'live', ms: 0 });
  });

  it('calls a message replayed that is older than the subscription', () => {
    expect(delayOf({ ...arrival, liveSinceMs: 20_001 })).toEqual({ kind: 'replayed', ms: 12 });
  });
});

describe('quantile', () => {
  it('has no value without values', () => {
    expect(quantile([], 0.5)).toBeUndefined();
  });

  it('is the nearest rank of the values by size, whatever their order', () => {
    const values = [10, 2, 33, 4];
    expect(quantile(values, 0)).toBe(2);
    expect(quantile(values, 0.5)).toBe(4);
    expect(quantile(values, 0.99)).toBe(33);
    expect(values).toEqual([10, 2, 33, 4]);
  });
});
