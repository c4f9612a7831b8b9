// The rate of a namespace for one publisher: a bucket per channel, forgotten when it is full again.
import type { Rate } from './rate.ts';
import { createTokenBucket, type TokenBucket } from './token-bucket.ts';

export interface ChannelRates {
  /** 0 when taken, else how long to wait, ms. */
  take(channel: string, rate: Rate, nowMs: number): number;
  isIdle(nowMs: number): boolean;
}

/** Buckets kept before full ones are looked for. What is left is bounded by what a publisher may publish at all. */
const SWEEP_FROM = 64;

export const createChannelRates = (): ChannelRates => {
  const buckets = new Map<string, TokenBucket>();
  let sweepAt = SWEEP_FROM;

  const sweep = (nowMs: number): void => {
    for (const [channel, bucket] of buckets) if (bucket.isFull(nowMs)) buckets.delete(channel);
    sweepAt = Math.max(SWEEP_FROM, buckets.size * 2);
  };

  return {
    take(channel, rate, nowMs) {
      const known = buckets.get(channel);
      if (known !== undefined) return known.take(nowMs, 1);
      if (buckets.size >= sweepAt) sweep(nowMs);
      const bucket = createTokenBucket(rate);
      buckets.set(channel, bucket);
      return bucket.take(nowMs, 1);
    },
    isIdle(nowMs) {
      sweep(nowMs);
      return buckets.size === 0;
    },
  };
};
