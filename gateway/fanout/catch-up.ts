// Serves subscriptions that stand behind: from the ring, else from the broker's history, at the pace their socket drains.
//
// A subscription behind is a position and nothing else: no message is kept for it but the page on its way. Connections
// take turns in slices, the subscriptions of one connection take turns page by page, so neither a large backlog nor a
// slow socket holds up anybody else. Who has reached what the next flush sends anyway goes back to live fan-out.
import pLimit from 'p-limit';
import type { ChannelPosition } from '../../broker/broker.ts';
import type { HistoryPage, HistoryStart } from '../../broker/history.ts';
import type { Clock } from '../clock.ts';
import { type GapReceipt, isGap, type LogEntry } from '../dialects/dialect.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { endOf, fitting } from './channel-log.ts';
import {
  type Behind,
  type ChannelState,
  type Lane,
  park,
  type Subscriber,
  type Subscription,
} from './channel-state.ts';
import { createHistoryPages, isOutage, type HistoryPages, type HistoryPagesOptions } from './history-pages.ts';
import { createPageEncoder } from './page-encoder.ts';
import type { PageAccount } from './page-account.ts';
import { applyPolicy } from './policy.ts';
import { accountFor } from './receipts.ts';

/** A socket with more than this outstanding gets nothing more until it drains, bytes (blueprint §4, engine-facts). */
export const HIGH_BYTES = 32 * 1024;
/** A parked socket that drained to this goes on, bytes. */
export const LOW_BYTES = 8 * 1024;
/** What one turn of a subscription may send, bytes; also what a flush may bring to one who returns to live fan-out. */
export const PAGE_BYTES = 64 * 1024;
/** Entries among which policies choose in one turn, and the most messages of a page. */
export const PAGE_MESSAGES = 1000;
/** Longest time catch-up works before it lets the event loop turn, ms: live fan-out must not notice it. */
const SLICE_MS = 2;
/**
 * The same while others receive live: a publication passes the loop several times on its way in, to the broker and out again,
 * and each time waits for a slice.
 */
const SLICE_BESIDE_LIVE_MS = 0.5;
/** So long after a live flush others count as receiving, ms. */
const LIVE_MS = 100;
/** History reads of all connections at the same time; the rest wait their turn. */
const MAX_CONCURRENT_READS = 16;
/** Pause before a subscription whose history could not be read tries again, ms. */
const RETRY_MS = 200;
/** How long the log may lag behind what the history showed before the channel is healed, ms. */
const LAG_MS = 1000;

export interface CatchUpOptions extends Pick<HistoryPagesOptions, 'history' | 'boundsOf'> {
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  /** Where pages count that wait for their turn. */
  readonly heldPages: PageAccount;
  /** A subscription came back to live fan-out with entries to send. */
  readonly onReturned: (channel: ChannelState) => void;
  /** The subscription was sent a receipt for publications that expired before it could read them. */
  readonly onExpired: (subscription: Subscription) => void;
  /** The history knows more of the channel than its log, and the log does not follow. */
  readonly onLogLags: (channel: ChannelState) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface CatchUp {
  /** Where those who catch up read; whoever starts one reads the first page there. */
  readonly pages: HistoryPages;
  /** Lists a new subscription as behind before it is known where it starts; `begin` follows. */
  reserve(subscription: Subscription): void;
  /** A subscription starts after `position`; its first turn comes in a later turn of the loop. */
  begin(subscription: Subscription, position: ChannelPosition, page: HistoryPage | null): void;
  /** Takes a live subscription out of fan-out: its socket or its share of the flush is too much. */
  fallBehind(subscription: Subscription): void;
  /** The socket's backlog shrank. */
  handleDrain(subscriber: Subscriber): void;
  /** The log of the channel moved. */
  handleProgress(channel: ChannelState): void;
  /** Something that this subscription may have waited for happened: it has a turn. */
  wake(subscription: Subscription): void;
  /** The subscription ended. */
  forget(subscription: Subscription): void;
  close(): void;
}

/** Entries of the log that these stand for: a receipt that a policy made stands for every publication it left out. */
const countStoodFor = (chosen: readonly LogEntry[]): number =>
  chosen.reduce((sum, entry) => sum + (isGap(entry) && entry.reason === 'conflated' ? (entry.count ?? 1) : 1), 0);

export const createCatchUp = (options: CatchUpOptions): CatchUp => {
  const { clock, metrics, heldPages, onReturned, onExpired, onLogLags, onError } = options;
  const { hot } = metrics;
  const encodePage = createPageEncoder();
  const pages = createHistoryPages({ ...options, maxBytes: PAGE_BYTES, limit: pLimit(MAX_CONCURRENT_READS) });
  const timers = new Set<NodeJS.Timeout>();
  let scheduled: Subscriber[] = [];
  let flushesSeen = hot.flushes;
  let flushSeenMs = -Infinity;
  let turning = false;
  let closed = false;

  const schedule = (subscriber: Subscriber, lane: Lane): void => {
    if (lane.scheduled || closed) return;
    lane.scheduled = true;
    scheduled.push(subscriber);
    if (turning) return;
    turning = true;
    setImmediate(turn);
  };

  const enqueue = (subscription: Subscription, behind: Behind): void => {
    const { subscriber, channel } = subscription;
    channel.awaitingLog.delete(subscription);
    behind.phase = 'queued';
    subscriber.lane ??= { queue: [], scheduled: false };
    subscriber.lane.queue.push(subscription);
    if (!subscriber.parked) schedule(subscriber, subscriber.lane);
  };

  const keepPage = (behind: Behind, page: HistoryPage): void => {
    behind.page = page;
    heldPages.hold(page);
  };

  const takePage = (behind: Behind): HistoryPage | null => {
    const { page } = behind;
    behind.page = null;
    if (page !== null) heldPages.release(page);
    return page;
  };

  const wake = (subscription: Subscription): void => {
    const { behind } = subscription;
    if (behind?.phase === 'waiting') enqueue(subscription, behind);
  };

  const later = (delayMs: number, action: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      action();
    }, delayMs);
    timers.add(timer);
  };

  const awaitLog = (subscription: Subscription, behind: Behind): void => {
    behind.phase = 'waiting';
    subscription.channel.awaitingLog.add(subscription);
  };

  /** The history is ahead of the log. Usually the backplane is about to deliver it; if it does not, something was missed. */
  const awaitLaggingLog = (subscription: Subscription, behind: Behind): void => {
    const { channel } = subscription;
    const { position } = behind;
    awaitLog(subscription, behind);
    later(LAG_MS, () => {
      if (subscription.behind !== behind || behind.position !== position) return;
      if (channel.log.seqAfter(position) === undefined) onLogLags(channel);
      wake(subscription);
    });
  };

  const returnToLive = (subscription: Subscription, cursor: number): void => {
    const { channel } = subscription;
    subscription.behind = null;
    subscription.cursor = cursor;
    channel.behind.delete(subscription);
    channel.add(subscription);
    if (cursor < channel.flushedSeq) channel.returning.push(subscription);
    if (cursor < channel.log.nextSeq) onReturned(channel);
  };

  const countGap = (subscription: Subscription, { reason, count }: GapReceipt): void => {
    subscription.gaps ??= new Map();
    subscription.gaps.set(reason, (subscription.gaps.get(reason) ?? 0) + (count ?? 0));
  };

  const send = (
    subscription: Subscription,
    entries: readonly LogEntry[],
    frames = subscription.subscriber.dialect.encodeBatch(subscription.channel.name, entries),
  ): void => {
    const { subscriber, window } = subscription;
    subscriber.cork(() => {
      for (const frame of frames) subscriber.sendFrame(frame);
    });
    hot.framesSent += frames.length;
    for (const frame of frames) hot.bytesSent += frame.length;
    for (const entry of entries) {
      if (!isGap(entry)) {
        hot.deliveries++;
        window?.handleSent(entry.offset);
      } else if (entry.epoch !== undefined) window?.start(entry.offset ?? 0);
      if (isGap(entry)) countGap(subscription, entry);
      if (isGap(entry) && entry.reason !== 'lost') metrics.count('weir_gaps_total', { reason: entry.reason });
      if (isGap(entry) && entry.reason === 'expired') onExpired(subscription);
    }
  };

  const roomOf = ({ window }: Subscription): number => window?.room ?? PAGE_MESSAGES;

  /** What follows `cursor` in the log. */
  const serveFromLog = (subscription: Subscription, behind: Behind, cursor: number): void => {
    const { channel, policy, window } = subscription;
    const { log } = channel;
    if (window !== null && cursor === log.nextSeq) {
      awaitLog(subscription, behind);
      return;
    }
    // What no flush has sent yet, or a flush may bring as well as a page, needs no catching up.
    const returns = cursor >= channel.flushedSeq || (policy === 'all' && log.fitsFrom(cursor, PAGE_BYTES));
    if (window === null && returns) {
      returnToLive(subscription, cursor);
      return;
    }
    const chosen = fitting(applyPolicy(policy, log.read(cursor)), PAGE_BYTES, roomOf(subscription));
    send(subscription, chosen);
    metrics.count('weir_catch_up_pages_total', { source: 'ring' });
    behind.cursor = cursor + countStoodFor(chosen);
    behind.position = log.positionAt(behind.cursor);
    enqueue(subscription, behind);
  };

  /** Applies a page of history that was read after the cursor. */
  const serveFromPage = (subscription: Subscription, behind: Behind, page: HistoryPage): void => {
    const { channel, policy, subscriber } = subscription;
    const { log } = channel;
    const { position } = behind;
    const ringStart =
      log.epoch === page.position.epoch &&
      log.firstPosition.epoch === log.epoch &&
      log.firstPosition.offset > position.offset
        ? log.firstPosition.offset
        : Infinity;
    const account = accountFor(position, page, ringStart, policy === 'latest' ? 'conflated' : 'expired');
    if (account.entries.length === 0) {
      // The history has nothing beyond: only the log can go on, and it stands elsewhere.
      awaitLaggingLog(subscription, behind);
      return;
    }
    const chosen = fitting(applyPolicy(policy, account.entries), Infinity, roomOf(subscription));
    send(subscription, chosen, encodePage(channel.name, subscriber.dialect, page, chosen));
    metrics.count('weir_catch_up_pages_total', { source: 'history' });
    behind.position = { epoch: account.position.epoch, offset: endOf(chosen.at(-1)!) };
    enqueue(subscription, behind);
  };

  const readHistory = (subscription: Subscription, behind: Behind): void => {
    behind.phase = 'reading';
    const { channel, policy } = subscription;
    const { epoch, offset } = behind.position;
    // The newest one is all that `latest` needs, whatever lies between.
    const start: HistoryStart = policy === 'latest' ? { kind: 'last', count: 1 } : { kind: 'after', offset };
    pages.read(channel.name, start, roomOf(subscription), epoch).then(
      (page) => {
        if (subscription.behind !== behind) return;
        // A parked connection may stay so for long; its page would be a queue. It is read again after the drain.
        if (!subscription.subscriber.parked) keepPage(behind, page);
        enqueue(subscription, behind);
      },
      (error: unknown) => {
        if (!isOutage(error)) onError(error as Error, { stage: 'catch-up' });
        if (subscription.behind !== behind) return;
        behind.phase = 'waiting';
        later(RETRY_MS, () => subscription.behind === behind && wake(subscription));
      },
    );
  };

  const serveOne = (subscription: Subscription, behind: Behind): void => {
    const { channel, window } = subscription;
    const { log } = channel;
    if (window !== null && window.room <= 0) {
      behind.phase = 'waiting';
      return;
    }
    const cursor = behind.cursor >= log.firstSeq ? behind.cursor : log.seqAfter(behind.position);
    const page = takePage(behind);
    if (cursor !== undefined) serveFromLog(subscription, behind, cursor);
    else if (page !== null) serveFromPage(subscription, behind, page);
    else readHistory(subscription, behind);
  };

  /** One turn of one connection: a page for the subscription that waited longest. */
  const serve = (subscriber: Subscriber, lane: Lane): void => {
    if (!subscriber.isOpen() || subscriber.parked) return;
    if (subscriber.bufferedBytes() > HIGH_BYTES) {
      park(subscriber);
      return;
    }
    const subscription = lane.queue.shift();
    if (subscription?.behind?.phase === 'queued') serveOne(subscription, subscription.behind);
    if (lane.queue.length > 0) schedule(subscriber, lane);
  };

  const sliceMs = (nowMs: number): number => {
    if (hot.flushes !== flushesSeen) {
      flushesSeen = hot.flushes;
      flushSeenMs = nowMs;
    }
    return nowMs - flushSeenMs < LIVE_MS ? SLICE_BESIDE_LIVE_MS : SLICE_MS;
  };

  const turn = (): void => {
    if (closed) return;
    const startedMs = clock.monotonicMs();
    const endMs = startedMs + sliceMs(startedMs);
    const subscribers = scheduled;
    scheduled = [];
    let next = 0;
    while (next < subscribers.length && clock.monotonicMs() <= endMs) {
      const subscriber = subscribers[next++]!;
      const { lane } = subscriber;
      if (lane === null) continue;
      lane.scheduled = false;
      serve(subscriber, lane);
    }
    hot.catchingUpMs += clock.monotonicMs() - startedMs;
    if (next < subscribers.length) scheduled = [...subscribers.slice(next), ...scheduled];
    if (scheduled.length > 0) setImmediate(turn);
    else turning = false;
  };

  const list = (subscription: Subscription, behind: Behind): void => {
    subscription.behind = behind;
    subscription.channel.behind.add(subscription);
  };

  const begin = (subscription: Subscription, position: ChannelPosition, page: HistoryPage | null): void => {
    const behind: Behind = { position, cursor: -1, phase: 'queued', sinceMs: clock.monotonicMs(), page: null };
    if (page !== null) keepPage(behind, page);
    list(subscription, behind);
    subscription.window?.start(position.offset);
    enqueue(subscription, behind);
  };

  return {
    pages,
    reserve: (subscription) =>
      list(subscription, {
        position: { epoch: '', offset: 0 },
        cursor: -1,
        phase: 'reading',
        sinceMs: clock.monotonicMs(),
        page: null,
      }),
    begin,
    fallBehind(subscription) {
      const { channel, cursor } = subscription;
      channel.remove(subscription);
      begin(subscription, channel.log.positionAt(cursor), null);
      subscription.behind!.cursor = cursor;
    },
    handleDrain(subscriber) {
      if (!subscriber.parked || subscriber.bufferedBytes() > LOW_BYTES) return;
      subscriber.parked = false;
      const { lane } = subscriber;
      if (lane !== null && lane.queue.length > 0) schedule(subscriber, lane);
    },
    handleProgress(channel) {
      for (const subscription of channel.awaitingLog) wake(subscription);
    },
    wake,
    forget(subscription) {
      const { behind, channel, subscriber } = subscription;
      const queue = subscriber.lane?.queue ?? [];
      if (behind !== null) takePage(behind);
      // A parked connection's queue does not move: who subscribes and unsubscribes on must not make it grow.
      if (behind?.phase === 'queued') queue.splice(queue.indexOf(subscription), 1);
      subscription.behind = null;
      channel.behind.delete(subscription);
      channel.awaitingLog.delete(subscription);
    },
    close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
  };
};
