// The contract for lifecycle events: what became of connections and channels, kept until the application has been told.
//
// ## Lanes
// Everything about one connection or channel is in one lane, and a lane has one order. Lanes know nothing of one another.
//
// ## Writing
// A *life* is one run of a node as the lane knows it. It writes numbered batches, one at a time: each is applied once, whole or not at
// all, together with the events that follow from it. So a batch whose outcome is unknown is simply written again, and a store that lost
// its newest writes says so (`behind`). What a life has put into a lane and not taken out again stays there in its name.
//
// ## Lives end
// A life that is not heard from for its lease is over: whoever looks next (`take`) takes its connections and channels out, each once, as
// `disconnected` with the detail NODE_LOST. A life that was taken out is `retired` for good. The lease runs on the lane's own clock, which stands still while no
// node reaches the lane: an outage of the store ends nobody.
//
// ## Channels
// `occupied` when the first life joins, `vacated` when the last one left and none joined within the grace (same clock).
//
// ## Reading
// One holder at a time is given the oldest events and acknowledges them; until then they come again, to it or to its successor.
// A full lane takes no further events; how many is told by one event `lost` in their place.

import { nameHash } from './name-hash.ts';

/** Part of the data format: a change moves every connection and channel. */
export const LIFECYCLE_LANES = 8;

/** The lane of a connection or channel. */
export const laneOf = (name: string): number => nameHash(name) % LIFECYCLE_LANES;

/** Most by which the lane's clock moves between two calls, ms: nodes call at least as often. */
export const LANE_STEP_MS = 1000;

/** Detail of `disconnected` when the node did not say it itself. */
export const NODE_LOST = 'node_lost';

export const LIFECYCLE_TYPES = ['connected', 'disconnected', 'occupied', 'vacated', 'lost'] as const;
export type LifecycleType = (typeof LIFECYCLE_TYPES)[number];

/** `timeMs`: when it happened, Unix ms by the clock of the node. */
export type LifecycleChange =
  /** `key` names the connection for ever: its events have the ids `<key>.connected` and `<key>.disconnected`. `about` is for the application. */
  | { readonly kind: 'connected'; readonly key: string; readonly timeMs: number; readonly about: string }
  /** Told also of a connection that is not in the lane. */
  | {
      readonly kind: 'disconnected';
      readonly key: string;
      readonly timeMs: number;
      readonly about: string;
      readonly detail: string;
    }
  /**
   * The life has subscribers of the channel. Repeating it changes nothing, but with `again` the channel is told as occupied in any case:
   * a lane that lost its newest writes may have told that it was vacated, and not know of it.
   */
  | { readonly kind: 'joined'; readonly channel: string; readonly timeMs: number; readonly again?: true }
  /** The life has none any more. Repeating it changes nothing. */
  | { readonly kind: 'left'; readonly channel: string; readonly timeMs: number }
  /** Something is missing here that nobody can tell any more; `detail` is for the application. */
  | { readonly kind: 'lost'; readonly timeMs: number; readonly detail: string };

export interface LifecycleTerms {
  /** Time without a word after which a life is over, ms. */
  readonly leaseMs: number;
  /** Time a channel stays occupied without subscribers, ms. */
  readonly graceMs: number;
  /** Events kept in one lane. */
  readonly maxEvents: number;
}

export interface LifecycleBatch {
  readonly lane: number;
  /** Unique; ASCII without spaces. `<holder>.<n>` for the lives of one holder. */
  readonly life: string;
  /** 1, 2, 3, …; without changes, the number of the newest batch: that only renews the lease. */
  readonly seq: number;
  readonly changes: readonly LifecycleChange[];
}

export type RecordOutcome =
  /** It is in the lane, by this call or by an earlier one. */
  | { readonly kind: 'recorded' }
  /** Nothing was written: the newest batch in the lane is this one. */
  | { readonly kind: 'behind'; readonly seq: number }
  /** Nothing was written: the lane does not know the life (any more). */
  | { readonly kind: 'unknown' }
  /** Nothing was written: the life was over and was taken out. */
  | { readonly kind: 'retired' };

export interface LifecycleEvent {
  /** Where it is in the lane, for `acknowledge`. */
  readonly position: string;
  readonly type: LifecycleType;
  /** The same whenever this event is taken. */
  readonly id: string;
  readonly timeMs: number;
  /** `about` of the connection, or the name of the channel; empty for `lost`. */
  readonly subject: string;
  /** As in the change; a number in digits for events a full lane did not take. */
  readonly detail: string;
}

export interface TakeRequest {
  readonly lane: number;
  /** Unique name of a run of a node; ASCII without spaces or dots. */
  readonly holder: string;
  /** `hold`: becomes the holder, or stays it, for so long (lane's clock); `leave` gives that up, `look` leaves it as it is. */
  readonly wish: { readonly kind: 'hold'; readonly holdMs: number } | { readonly kind: 'look' | 'leave' };
  readonly limit: number;
}

export interface Taken {
  readonly isHeld: boolean;
  /** The oldest ones, in order; none for who does not hold the lane. */
  readonly events: readonly LifecycleEvent[];
  /** Events in the lane, those included. */
  readonly backlog: number;
  /** How long the oldest one has been there, ms; 0 without any. */
  readonly oldestMs: number;
  /** A life that is over is not taken out completely yet: take again soon. */
  readonly isUnfinished: boolean;
}

/** Every call rejects with `BrokerUnavailableError` when its outcome is a failure or unknown. */
export interface LifecycleLog {
  record(batch: LifecycleBatch, terms: LifecycleTerms): Promise<RecordOutcome>;
  /** Takes lives out that are over, tells channels vacated whose grace has ended, then reads. */
  take(request: TakeRequest, terms: LifecycleTerms): Promise<Taken>;
  /** These need not be taken again. */
  acknowledge(lane: number, positions: readonly string[]): Promise<void>;
  /** Takes a life out as if its lease were over; resolves with true when nothing of it is left. */
  retire(lane: number, life: string, terms: LifecycleTerms): Promise<boolean>;
}
