// One channel on this node: its log, the cursors of those who listen, and the frame of the flush in progress.
import type { PublicationRun } from '../../broker/broker.ts';
import type { BatchFrame } from './batch-frame.ts';
import { ChannelLog } from './channel-log.ts';
import type { Dialect } from '../dialects/dialect.ts';

/** The connection as fan-out sees it. */
export interface Subscriber {
  readonly dialect: Dialect;
  /** Head of the list of subscriptions that the flush in progress still has to serve on this connection. */
  pendingHead: Subscription | null;
  /** False from the moment the socket is gone or being closed; nothing below may be called then. */
  isOpen(): boolean;
  /** Hands one frame to the socket. */
  sendFrame(frame: Buffer): void;
  /** Runs `write` so that its frames leave in one system call. */
  cork(write: () => void): void;
  /** Bytes the socket has not taken yet. */
  bufferedBytes(): number;
  /** The outbox is over its bound: the connection ends itself. */
  handleOverflow(): void;
}

/** One connection's cursor over one channel log. */
export class Subscription {
  readonly subscriber: Subscriber;
  readonly channel: ChannelState;
  /** Sequence number in the channel log of the next entry to send. */
  cursor: number;
  /** Place in `channel.subscriptions`; -1 once ended. */
  index = -1;
  /** Next in the subscriber's list for the flush in progress. */
  nextPending: Subscription | null = null;

  constructor(subscriber: Subscriber, channel: ChannelState, cursor: number) {
    this.subscriber = subscriber;
    this.channel = channel;
    this.cursor = cursor;
  }
}

/**
 * - `opening`: the backplane subscription is being made; runs are held until the head is known.
 * - `live`: runs go straight into the log.
 * - `healing`: something was missed; runs are held while the history is read.
 * - `closed`: nobody listens; the object is dead, a later subscription makes a new one.
 */
export type ChannelStatus = 'opening' | 'live' | 'healing' | 'closed';

export class ChannelState {
  readonly name: string;
  readonly log = new ChannelLog();
  readonly subscriptions: Subscription[] = [];
  status: ChannelStatus = 'opening';
  /** Runs that arrived while opening or healing, in order. */
  held: PublicationRun[] = [];
  heldBytes = 0;
  /** Something was missed that no held run reveals: the read under way may be too old, another one is needed. */
  incomplete = false;
  /** The frame that the flush in progress sends. */
  frame: BatchFrame | null = null;
  /** Up to here every subscription has been served or is part of the flush in progress. */
  flushedSeq = 0;
  /** Up to here every subscription was served. */
  sentSeq = 0;
  /** Whether the dispatcher already knows that there is something to flush. */
  dirty = false;

  constructor(name: string) {
    this.name = name;
  }

  add(subscription: Subscription): void {
    subscription.index = this.subscriptions.length;
    this.subscriptions.push(subscription);
  }

  /** Removes in constant time by moving the last one into the free place. */
  remove(subscription: Subscription): void {
    const last = this.subscriptions.pop();
    if (last !== undefined && last !== subscription) {
      this.subscriptions[subscription.index] = last;
      last.index = subscription.index;
    }
    subscription.index = -1;
  }
}
