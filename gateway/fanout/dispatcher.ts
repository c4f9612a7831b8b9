// Turns appended log entries into frames on sockets: marks channels dirty, waits as long as coalescing says, flushes in slices.
//
// A flush has two steps. Collect: every dirty channel gets one batch frame, every subscription of it is listed on its
// connection. Send: connection by connection, all its frames in one cork, in slices, so that a large audience never holds
// the event loop longer than SLICE_MS and CLOCK_STRIDE connections, or, while fan-out lags, as long as everything else did,
// within bounds.
// A cursor moves only when its frame was handed over. What arrives during a flush is added to the frames of those who have
// not been served, between two slices, also of those who lacked nothing when it began; the next flush brings it to the
// others, whose cursors say what they lack. So a message waits for one round through the audience, whoever it is for, not
// for the rest of one and then another.
import type { Clock } from '../clock.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { BatchFrame } from './batch-frame.ts';
import { HIGH_BYTES } from './catch-up.ts';
import { type ChannelState, park, type Subscriber, type Subscription } from './channel-state.ts';
import { NO_WAIT, type Wait } from './coalescing.ts';

/**
 * What is sent before the event loop turns, ms: what fan-out lacks to half of the time since the flush began, within these. The
 * bar is a stall of 10 ms at 10 000 subscribers, and what else a turn may meet, a collection or another thread on the core,
 * is several of it.
 */
const SLICE_MS = { least: 1, most: 2 } as const;
/**
 * While a channel has more than one flush takes, and a turn of the loop takes longer than that with other things, sending may
 * take as long as these: else a loop that is full of publishing would send ever later what it accepts, and the log would
 * grow. Never longer than this, ms.
 */
const MAX_SLICE_MS = 30;
/** Connections between two looks at the clock. */
const CLOCK_STRIDE = 16;
/** What a flush brings to one socket, all channels together; the rest is brought page by page. Bytes. */
const MAX_FLUSH_BYTES = 256 * 1024;
/**
 * What one flush takes from the log of a channel, as the log counts it. What comes in one turn of a busy loop is more than that;
 * it leaves in several flushes, because a flush that is too large for one socket is too large for all: the whole audience
 * would catch up instead, each at the price of an encoding of its own, and lose what the history no longer holds.
 */
const MAX_FRAME_BYTES = MAX_FLUSH_BYTES / 2;

export interface DispatcherOptions {
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  /** How long the next flush waits; asked once per flush. */
  readonly wait: () => Wait;
  /** The socket of this live subscription takes no more, or the flush is too large for it: it catches up from now on. */
  readonly fallBehind: (subscription: Subscription) => void;
  /** The log of the channel moved: somebody may have waited for that. */
  readonly onProgress: (channel: ChannelState) => void;
  /** A flush of the channel is over. */
  readonly onFlushed: (channel: ChannelState) => void;
}

export interface Dispatcher {
  /**
   * There are entries after `channel.flushedSeq`, or for somebody who returned from behind.
   * @param publications so many came with this call
   */
  markDirty(channel: ChannelState, publications?: number): void;
  /** Longest that the newest flush could wait, ms. */
  readonly currentDelayMs: number;
  /** For how long some channel has had more than one flush could take, ms; 0 while fan-out keeps up. */
  readonly backlogMs: number;
  /** Ends timers; nothing is sent afterwards. */
  close(): void;
}

/** What is left of the time that fan-out has in this turn of the loop. */
interface Turn {
  isOver(): boolean;
}

export const createDispatcher = (options: DispatcherOptions): Dispatcher => {
  const { clock, metrics, fallBehind, onProgress, onFlushed } = options;
  const { hot } = metrics;
  /** Channels that wait as long as the load asks for, since when, monotonic ms, and the publications that do. */
  let dirty: ChannelState[] = [];
  let dirtySinceMs = 0;
  let gathered = 0;
  /** Channels with a wait of their own that is not over, by its length, ms. */
  const waiting = new Map<number, ChannelState[]>();
  const timers = new Set<NodeJS.Timeout>();
  /** Channels whose wait is over. */
  let due: ChannelState[] = [];
  let flushing: ChannelState[] = [];
  /** Of these, channels whose log has more than the flush in progress takes. */
  let cut: ChannelState[] = [];
  /** Since when there has been one, monotonic ms. */
  let cutSinceMs: number | undefined;
  /** Of these, channels whose log grew since the flush took from it. */
  const grown = new Set<ChannelState>();
  /** Whether the flush in progress brings the rest of a burst. */
  let bringsRest = false;
  let restIsDue = false;
  /** Whether the next turn of the loop goes on with what this one left. */
  let hasYielded = false;
  /** Connections of the flush in progress, as many as `listed` says, null once served. Never shrinks: else each flush would grow it anew. */
  const audience: (Subscriber | null)[] = [];
  let listed = 0;
  /** The first not yet served. */
  let next = 0;
  let state: 'idle' | 'sending' | 'closed' = 'idle';
  /** Whether the wait of `dirty` has begun, which, and what ends it. */
  let isScheduled = false;
  let current = NO_WAIT;
  let timer: NodeJS.Timeout | undefined;
  /** When the flush in progress began, monotonic, and what sending took of the time since, ms. */
  let beganMs = 0;
  let spentMs = 0;
  /** Bytes handed to the connection being served. */
  let handedBytes = 0;

  /** @param othersMs what everything else took since the last slice, ms */
  const newTurn = (othersMs = 0): Turn => {
    const nowMs = clock.monotonicMs();
    const lackingMs = state === 'sending' ? (nowMs - beganMs) / 2 - spentMs : 0;
    const fairMs = Math.max(SLICE_MS.least, Math.min(SLICE_MS.most, lackingMs));
    const endsMs = nowMs + (cutSinceMs === undefined ? fairMs : Math.max(fairMs, Math.min(MAX_SLICE_MS, othersMs)));
    return { isOver: () => clock.monotonicMs() > endsMs };
  };

  const collect = (channel: ChannelState): void => {
    channel.dirty = false;
    channel.takenBytes = channel.log.appendedBytes;
    // Due twice, as the rest of a burst and by what came since: it is part of this flush already.
    if (channel.frame !== null) return;
    const hasFresh = channel.log.nextSeq !== channel.flushedSeq;
    const { returning } = channel;
    if (channel.status === 'closed' || (!hasFresh && returning.length === 0)) return;
    const leaving: Subscription[] = [];
    const frame = new BatchFrame(channel.name, channel.log, channel.flushedSeq, MAX_FRAME_BYTES);
    channel.frame = frame;
    channel.flushedSeq = frame.toSeq;
    if (frame.isFull) cut.push(channel);
    flushing.push(channel);
    for (const subscription of hasFresh ? channel.subscriptions : returning) {
      if (subscription.index === -1) continue;
      const { subscriber } = subscription;
      if (subscriber.parked) {
        if (subscription.cursor < frame.toSeq) leaving.push(subscription);
        continue;
      }
      if (subscriber.pendingHead === null) audience[listed++] = subscriber;
      subscription.nextPending = subscriber.pendingHead;
      subscriber.pendingHead = subscription;
    }
    if (returning.length > 0) channel.returning = [];
    for (const subscription of leaving) fallBehind(subscription);
    if (channel.awaitingLog.size > 0) onProgress(channel);
    const { oldestTimeMs } = frame;
    if (oldestTimeMs !== undefined) {
      metrics.observe('weir_delivery_latency_seconds', Math.max(0, clock.nowMs() - oldestTimeMs) / 1000);
    }
  };

  const sendOne = (subscriber: Subscriber, subscription: Subscription): void => {
    const { frame } = subscription.channel;
    // Unsubscribed or fallen behind since the collect step, or the connection ended under an earlier frame of this cork.
    if (subscription.index === -1 || frame === null || !subscriber.isOpen()) return;
    // It lacked nothing when the flush began, and nothing came since.
    if (subscription.cursor >= frame.toSeq) return;
    if (subscriber.parked) {
      fallBehind(subscription);
      return;
    }
    const batch = frame.encodedFor(subscriber.dialect, subscription.cursor);
    if (handedBytes + batch.bytes > MAX_FLUSH_BYTES) {
      fallBehind(subscription);
      return;
    }
    for (const bytes of batch.frames) subscriber.sendFrame(bytes);
    subscription.cursor = frame.toSeq;
    hot.deliveries += batch.messages;
    hot.framesSent += batch.frames.length;
    hot.bytesSent += batch.bytes;
    handedBytes += batch.bytes;
  };

  const sendList = (subscriber: Subscriber, first: Subscription): void => {
    let subscription: Subscription | null = first;
    while (subscription !== null) {
      const following: Subscription | null = subscription.nextPending;
      subscription.nextPending = null;
      sendOne(subscriber, subscription);
      subscription = following;
    }
  };

  const serve = (subscriber: Subscriber): void => {
    const first = subscriber.pendingHead;
    subscriber.pendingHead = null;
    handedBytes = 0;
    if (first === null || !subscriber.isOpen()) return;
    // The flush before was a moment ago, and what it handed over was not counted.
    if (bringsRest && subscriber.bufferedBytes() > HIGH_BYTES) park(subscriber);
    if (first.nextPending === null) sendOne(subscriber, first);
    else subscriber.cork(() => sendList(subscriber, first));
    // What this flush handed over does not count: an idle socket may be given one flush.
    if (handedBytes > 0 && subscriber.isOpen() && subscriber.bufferedBytes() - handedBytes > HIGH_BYTES)
      park(subscriber);
  };

  /** Serves connections until all are or the turn is over; false: some are left. */
  const sendSlice = (turn: Turn): boolean => {
    while (next < listed) {
      const subscriber = audience[next]!;
      audience[next++] = null;
      serve(subscriber);
      if (next % CLOCK_STRIDE === 0 && turn.isOver()) break;
    }
    return next === listed;
  };

  /** Those who are still to be served get what came since the flush began, as far as one frame may hold it. */
  const extendFrames = (): void => {
    for (const channel of grown) {
      const { frame, log, name, status } = channel;
      if (frame === null || status === 'closed') continue;
      channel.frame = new BatchFrame(name, log, frame.fromSeq, MAX_FRAME_BYTES);
    }
    grown.clear();
  };

  const begin = (): void => {
    state = 'sending';
    beganMs = clock.monotonicMs();
    spentMs = 0;
    const channels = due;
    due = [];
    bringsRest = restIsDue;
    restIsDue = false;
    for (const channel of channels) collect(channel);
  };

  const finish = (): void => {
    for (const channel of flushing) {
      channel.frame = null;
      channel.sentSeq = channel.flushedSeq;
      onFlushed(channel);
    }
    flushing = [];
    listed = 0;
    next = 0;
    grown.clear();
    if (cut.length === 0) cutSinceMs = undefined;
    else cutSinceMs ??= clock.monotonicMs();
    hot.flushes++;
    hot.flushingMs += spentMs;
    metrics.observe('weir_flush_duration_seconds', spentMs / 1000);
    state = 'idle';
  };

  /** The rest of a burst does not wait for the coalescing. */
  const takeRest = (): void => {
    if (cut.length === 0) return;
    due = due.concat(cut);
    cut = [];
    restIsDue = true;
  };

  /** What is due, as far as this turn of the loop goes: one flush after the other, the newest from where it was left. */
  const work = (turn: Turn): void => {
    while (state === 'sending' || due.length > 0) {
      const startedMs = clock.monotonicMs();
      if (state === 'idle') begin();
      else extendFrames();
      const isDone = sendSlice(turn);
      spentMs += clock.monotonicMs() - startedMs;
      if (!isDone) {
        yieldTurn();
        return;
      }
      finish();
      // Between two flushes too: one channel with more than can be sent must not keep the others waiting.
      if (dirty.length > 0) schedule();
      if (cut.length > 0 && !turn.isOver()) takeRest();
    }
    if (cut.length > 0) yieldTurn();
  };

  /** The loop turns in between: sockets shall be read and replies leave. */
  const yieldTurn = (): void => {
    if (hasYielded) return;
    hasYielded = true;
    const yieldedMs = clock.monotonicMs();
    setImmediate(() => {
      hasYielded = false;
      if (state === 'closed') return;
      if (state === 'idle') takeRest();
      work(newTurn(clock.monotonicMs() - yieldedMs));
    });
  };

  const after = (ms: number, action: () => void): NodeJS.Timeout | undefined => {
    const run = (): void => {
      action();
      if (state === 'idle' && due.length > 0) work(newTurn());
    };
    if (ms < 1) {
      setImmediate(run);
      return undefined;
    }
    const started = setTimeout(() => {
      timers.delete(started);
      run();
    }, ms);
    timers.add(started);
    return started;
  };

  const takeDirty = (): void => {
    isScheduled = false;
    timer = undefined;
    due = due.concat(dirty);
    dirty = [];
    gathered = 0;
  };

  /** The wait counts from the first publication; a flush in progress goes on meanwhile, and is not interrupted. */
  const schedule = (): void => {
    if (isScheduled || state !== 'idle') return;
    isScheduled = true;
    current = options.wait();
    const leftMs = gathered >= current.publications ? 0 : current.ms - (clock.monotonicMs() - dirtySinceMs);
    timer = after(leftMs, takeDirty);
  };

  /** No further publication is expected before the wait is over. */
  const endWait = (): void => {
    if (timer === undefined) return;
    clearTimeout(timer);
    timers.delete(timer);
    // At the end of this turn: what else comes in it leaves with them.
    timer = after(0, takeDirty);
  };

  /** All channels of one length that become dirty meanwhile leave with the first. */
  const waitApart = (channel: ChannelState, ms: number): void => {
    const group = waiting.get(ms);
    if (group !== undefined) {
      group.push(channel);
      return;
    }
    waiting.set(ms, [channel]);
    after(ms, () => {
      due = due.concat(waiting.get(ms)!);
      waiting.delete(ms);
    });
  };

  /** A flush that is full gains nothing by waiting. */
  const hasten = (channel: ChannelState): void => {
    channel.takenBytes = channel.log.appendedBytes;
    due.push(channel);
    yieldTurn();
  };

  return {
    markDirty(channel, publications = 0) {
      if (channel.frame !== null && !channel.frame.isFull) grown.add(channel);
      if (channel.dirty && channel.log.appendedBytes - channel.takenBytes > MAX_FRAME_BYTES) hasten(channel);
      if (!channel.dirty) {
        channel.dirty = true;
        if (channel.coalesceMs !== undefined) waitApart(channel, channel.coalesceMs);
        else {
          if (dirty.length === 0) dirtySinceMs = clock.monotonicMs();
          dirty.push(channel);
        }
      }
      // Nobody waits: it goes with what is due already.
      if (channel.coalesceMs !== undefined || dirty.length === 0) return;
      gathered += publications;
      if (!isScheduled) schedule();
      else if (gathered >= current.publications) endWait();
    },
    get currentDelayMs() {
      return current.ms;
    },
    get backlogMs() {
      return cutSinceMs === undefined ? 0 : clock.monotonicMs() - cutSinceMs;
    },
    close() {
      state = 'closed';
      for (const started of timers) clearTimeout(started);
      timers.clear();
    },
  };
};
