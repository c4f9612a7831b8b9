// Time and fresh names as injected values of the drivers, so that every window and epoch can be tested without waiting.
import { randomBytes } from 'node:crypto';

export interface BrokerClock {
  /** Unix time, ms. */
  nowMs(): number;
}

export const systemClock: BrokerClock = { nowMs: () => Date.now() };

const EPOCH_BYTES = 9;

/** 12 URL-safe characters (72 bits): two lives of one channel never share an epoch. */
export const randomEpoch = (): string => randomBytes(EPOCH_BYTES).toString('base64url');

/** How long a `messageId` is remembered (the window of `PublishRequest.messageId`). */
export const IDEMPOTENCY_WINDOW_MS = 5 * 60_000;

/** How long a channel keeps its numbering after its last publication, at least. */
export const NUMBERING_TTL_MS = 3 * 24 * 3_600_000;

/** How long a numbering lives that only a read has created: readers of made-up names leave nothing for days. */
export const UNPUBLISHED_NUMBERING_TTL_MS = 3_600_000;

/** Lifetime of a node's lease unless configured. */
export const DEFAULT_LEASE_MS = 5_000;
