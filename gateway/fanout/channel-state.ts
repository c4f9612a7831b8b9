// One channel on this node: its log, the cursors of those who listen, and the frame of the flush in progress.
import type { ChannelPosition, PublicationRun } from '../../broker/broker.ts';
import type { HistoryPage } from '../../broker/history.ts';
import type { AckWindow } from './ack-window.ts';
import type { GapReason } from '../../protocol/pushes.ts';
import type { BatchFrame } from './batch-frame.ts';
import { ChannelLog } from './channel-log.ts';
import type { Dialect } from '../dialects/dialect.ts';
import type { DeliveryPolicy } from './policy.ts';

/** The connection as fan-out sees it. */
export interface Subscriber {
  readonly dialect: Dialect;
  /** Head of the list of subscriptions that the flush in progress still has to serve on this connection. */
  pendingHead: Subscription | null;
  /** The socket holds more than it may: live fan-out passes it by until it has drained. */
  parked: boolean;
  /** Subscriptions that catch up and have a turn to come; made when the first one falls behind. */
  lane: Lane | null;
  /** False from the moment the socket is gone or being closed; nothing below may be called then. */
  isOpen(): boolean;
  /** Hands one frame to the socket. */
  sendFrame(frame: Buffer): void;
  /** Runs `write` so that its frames leave in one system call. */
  cork(write: () => void): void;
  /** Has the engine bring what is published under the topic; false where the transport has no topics. */
  listen(topic: string): boolean;
  unlisten(topic: string): void;
  /** Bytes the socket has not taken yet; Infinity once it lost a frame. */
  bufferedBytes(): number;
  /** The socket lost a frame: only another connection can go on from the cursors. */
  handleLostFrame(): void;
  /** The connection is to end because of what it owes: from now on it gets nothing more, and stays parked. */
  dismiss(): void;
}

/** Takes a connection out of live fan-out until its socket has drained. */
export const park = (subscriber: Subscriber): void => {
  subscriber.parked = true;
  // It never drains: a frame that the engine threw away would be a hole.
  if (subscriber.bufferedBytes() === Infinity) subscriber.handleLostFrame();
};

/** Whose turn it is on one connection. */
export interface Lane {
  readonly queue: Subscription[];
  /** Whether the connection waits for its own turn among all connections that catch up. */
  scheduled: boolean;
}

/**
 * - `queued`: has a turn to come on its connection.
 * - `reading`: waits for a page of history.
 * - `waiting`: for the log to move, for an acknowledgement, or for the broker to come back.
 */
export type BehindPhase = 'queued' | 'reading' | 'waiting';

/** The cursor of a subscription that stands behind the log's live end. All it costs while its socket stands still. */
export interface Behind {
  /** Everything up to here was delivered or reported. */
  position: ChannelPosition;
  /** The same as a sequence number, while the log still holds the entry there. */
  cursor: number;
  phase: BehindPhase;
  /** When it fell behind or began, monotonic ms. */
  readonly sinceMs: number;
  /** A page read after `position` before the first turn. */
  page: HistoryPage | null;
}

/** One connection's cursor over one channel log. */
export class Subscription {
  readonly subscriber: Subscriber;
  readonly channel: ChannelState;
  readonly policy: DeliveryPolicy;
  /** With policy `ack` what is outstanding; such a subscription is always behind. */
  readonly window: AckWindow | null;
  /** While live: sequence number in the channel log of the next entry to send. */
  cursor: number;
  /** Place in `channel.subscriptions`; -1 while behind and once ended. */
  index = -1;
  behind: Behind | null = null;
  /** How often what it needs had expired when it came to read it. */
  expiries = 0;
  /** Messages reported missing while it caught up, by reason; null when none was. */
  gaps: Map<GapReason, number> | null = null;
  /** Next in the subscriber's list for the flush in progress. */
  nextPending: Subscription | null = null;

  constructor(
    subscriber: Subscriber,
    channel: ChannelState,
    cursor: number,
    policy: DeliveryPolicy = 'all',
    window: AckWindow | null = null,
  ) {
    this.subscriber = subscriber;
    this.channel = channel;
    this.cursor = cursor;
    this.policy = policy;
    this.window = window;
  }
}

/**
 * - `opening`: the backplane subscription is being made; runs are held until the head is known.
 * - `live`: runs go straight into the log.
 * - `healing`: something was missed; runs are held while the history is read.
 * - `closed`: nobody listens; the object is dead, a later subscription makes a new one.
 */
export type ChannelStatus = 'opening' | 'live' | 'healing' | 'closed';

/** What the runs that all channels of a node hold cost together. */
export interface HeldOnNode {
  bytes: number;
}

export class ChannelState {
  readonly name: string;
  readonly log = new ChannelLog();
  /** Those whose cursor moves with every flush. */
  readonly subscriptions: Subscription[] = [];
  /** Those who catch up: no flush looks at them. */
  readonly behind = new Set<Subscription>();
  /** Those behind who have all there is and wait for the log to move. */
  readonly awaitingLog = new Set<Subscription>();
  /** Those who came back from behind with entries that only the next flush brings them. */
  returning: Subscription[] = [];
  status: ChannelStatus = 'opening';
  /** Runs that arrived while opening or healing, in order. */
  held: PublicationRun[] = [];
  heldBytes = 0;
  readonly heldOnNode: HeldOnNode;
  /** Something was missed that no held run reveals: the read under way may be too old, another one is needed. */
  incomplete = false;
  /** The frame that the flush in progress sends. */
  frame: BatchFrame | null = null;
  /** Up to here every live subscription has been served, is part of the flush in progress, or returns; some are beyond. */
  flushedSeq = 0;
  /** Up to here at least every live subscription was served, those that return apart. */
  sentSeq = 0;
  /** Fixed wait before a flush, ms; undefined: as long as the load of the node asks for. */
  readonly coalesceMs: number | undefined;
  /** Whether the dispatcher already knows that there is something to flush. */
  dirty = false;
  /** What the log had appended, bytes, when a flush took from it last or was told not to wait. */
  takenBytes = 0;

  constructor(name: string, coalesceMs?: number, heldOnNode: HeldOnNode = { bytes: 0 }) {
    this.name = name;
    this.coalesceMs = coalesceMs;
    this.heldOnNode = heldOnNode;
  }

  get subscriptionCount(): number {
    return this.subscriptions.length + this.behind.size;
  }

  add(subscription: Subscription): void {
    subscription.index = this.subscriptions.length;
    this.subscriptions.push(subscription);
  }

  /** Removes a live one in constant time by moving the last one into the free place. */
  remove(subscription: Subscription): void {
    const last = this.subscriptions.pop();
    if (last !== undefined && last !== subscription) {
      this.subscriptions[subscription.index] = last;
      last.index = subscription.index;
    }
    subscription.index = -1;
  }

  /** The oldest entry that a flush in progress or to come still needs; everything below may be let go of. */
  get neededSeq(): number {
    let seq = this.frame === null ? this.flushedSeq : this.log.firstSeq;
    for (const { cursor, index } of this.returning) if (index !== -1 && cursor < seq) seq = cursor;
    return seq;
  }
}
