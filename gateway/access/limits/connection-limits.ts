// What one connection may send: bytes and commands per time, and how long it may go on after it was refused.
import type { MetricsRegistry } from '../../observability/registry.ts';
import type { Account } from './account.ts';
import type { LimitReason } from './limit-reached.ts';
import type { Rate } from './rate.ts';
import { bucketShapeOf, type BucketShape, nextSlotMs, REFUSED, take, waitMs } from './token-bucket.ts';

export interface ConnectionRates {
  readonly maxCommandRate: Rate;
  readonly maxByteRate: Rate;
  readonly maxPublishRate: Rate;
  readonly maxRefusalRate: Rate;
}

/** 0 when taken, else how long to wait, ms. */
export type Verdict = number;

export interface ConnectionLimits {
  /** The bytes of a frame, before it is decoded. When they are over the rate, its commands wait as long as this says. */
  takeFrame(account: Account, nowMs: number, bytes: number): Verdict;
  takeCommand(account: Account, nowMs: number, type: string | undefined): Verdict;
  takePublish(account: Account, nowMs: number): Verdict;
  /** Counts a refusal. `exhausted`: the client goes on far beyond what it was told; its connection is to end. */
  refuse(account: Account, nowMs: number, reason: LimitReason): 'bearable' | 'exhausted';
}

/** Clients acknowledge message by message, and an acknowledgement is next to no work. */
const ACK_COST = 0.1;

export const createConnectionLimits = (rates: ConnectionRates, metrics: MetricsRegistry): ConnectionLimits => {
  const commands = bucketShapeOf(rates.maxCommandRate);
  const frames = bucketShapeOf(rates.maxByteRate);
  const publishes = bucketShapeOf(rates.maxPublishRate);
  const refusals = bucketShapeOf(rates.maxRefusalRate);

  const waitFor = (account: Account, shape: BucketShape, fullAtMs: number, nowMs: number, cost: number): number => {
    account.lastSlotMs = nextSlotMs(shape, { fullAtMs, lastSlotMs: account.lastSlotMs }, nowMs, cost);
    return waitMs(account.lastSlotMs, nowMs);
  };

  return {
    takeFrame(account, nowMs, bytes) {
      const taken = take(frames, account.bytesFullAtMs, nowMs, bytes);
      if (taken === REFUSED) return waitFor(account, frames, account.bytesFullAtMs, nowMs, bytes);
      account.bytesFullAtMs = taken;
      return 0;
    },
    takeCommand(account, nowMs, type) {
      const cost = type === 'ack' ? ACK_COST : 1;
      const taken = take(commands, account.commandsFullAtMs, nowMs, cost);
      if (taken === REFUSED) return waitFor(account, commands, account.commandsFullAtMs, nowMs, cost);
      account.commandsFullAtMs = taken;
      return 0;
    },
    takePublish(account, nowMs) {
      const taken = take(publishes, account.publishesFullAtMs, nowMs, 1);
      if (taken === REFUSED) return waitFor(account, publishes, account.publishesFullAtMs, nowMs, 1);
      account.publishesFullAtMs = taken;
      return 0;
    },
    refuse(account, nowMs, reason) {
      metrics.count('weir_limited_total', { reason });
      const taken = take(refusals, account.refusalsFullAtMs, nowMs, 1);
      if (taken === REFUSED) return 'exhausted';
      account.refusalsFullAtMs = taken;
      return 'bearable';
    },
  };
};
