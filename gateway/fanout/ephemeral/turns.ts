// Hands the waiting messages of ephemeral channels to their members, a few sockets and a bounded number of bytes per turn of the loop.
//
// The engine cannot tell whose socket did not take a frame, so it never gets into that position: right before a cell is served
// every member's socket is looked at, and one over HIGH leaves the engine's topic. A turn hands over at most TURN_BYTES to a socket,
// far below the bound at which the engine throws frames away; should that happen all the same (a burst of replies), the connection
// ends with 3010.
import type { Clock } from '../../clock.ts';
import type { Dialect } from '../../dialects/dialect.ts';
import type { MetricsRegistry } from '../../observability/registry.ts';
import { HIGH_BYTES } from '../catch-up.ts';
import type { Subscriber } from '../channel-state.ts';
import {
  type Cell,
  CELL_MEMBERS,
  type EphemeralChannel,
  type EphemeralSubscription,
  topicOf,
} from './ephemeral-channel.ts';
import type { HandOver } from './waiting-messages.ts';

/** What one turn hands to each socket; the rest waits for the next turn, when the sockets are looked at again. Bytes. */
const TURN_BYTES = 128 * 1024;

export interface EphemeralTurnsOptions {
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  /** Delay before the next turn, ms. */
  readonly delayMs: () => number;
  /** Whether the node is overloaded, so that channels rest between turns and only the newest messages count. */
  readonly isThinned: () => boolean;
  /** How long a channel rests then, ms. */
  readonly restMs: number;
  /** Hands a frame to every socket that listens to the topic (`Subscriber.listen`). */
  readonly publishNative: (topic: string, frame: Buffer) => void;
  /** The member's socket takes no more: from now on it is not served. */
  readonly fallBehind: (member: EphemeralSubscription) => void;
}

export interface EphemeralTurns {
  /** The channel may have something to hand over. */
  markDirty(channel: EphemeralChannel): void;
  /** The channel is gone. */
  forget(channel: EphemeralChannel): void;
  close(): void;
}

/** One hand-over on its way to the cells of its channel. */
interface Pass {
  readonly channel: EphemeralChannel;
  readonly handOver: HandOver;
  readonly bytes: number;
  /** Cells not served yet. */
  readonly cells: Cell[];
  readonly frames: Map<Dialect, readonly Buffer[]>;
}

export const gapFrame = (dialect: Dialect, channel: EphemeralChannel, count: number | null): Buffer =>
  Buffer.from(dialect.encode({ type: 'gap', channel: channel.name, count, reason: 'dropped' }));

const encode = (dialect: Dialect, channel: EphemeralChannel, handOver: HandOver): readonly Buffer[] => {
  const { messages, thinned, overrun, interrupted } = handOver;
  // Without a position: dialects leave it out.
  const entries = messages.map(({ body, timeMs }) => ({
    offset: 0,
    key: undefined,
    body,
    bodyBytes: body.length,
    timeMs,
  }));
  return [
    ...(interrupted ? [gapFrame(dialect, channel, null)] : []),
    ...(thinned > 0 ? [gapFrame(dialect, channel, thinned)] : []),
    ...(entries.length > 0 ? dialect.encodeBatch(channel.name, entries) : []),
    ...(overrun > 0 ? [gapFrame(dialect, channel, overrun)] : []),
  ];
};

export const createEphemeralTurns = (options: EphemeralTurnsOptions): EphemeralTurns => {
  const { clock, metrics, delayMs, isThinned, restMs, publishNative, fallBehind } = options;
  const { hot } = metrics;
  /** Channels with something to hand over, whose turn it is in this order. */
  const dirty = new Set<EphemeralChannel>();
  /** Channels that rest; all for the same time, so in the order in which they wake. */
  const resting = new Set<EphemeralChannel>();
  let pass: Pass | null = null;
  let scheduled = false;
  let closed = false;
  let turnTimer: NodeJS.Timeout | undefined;
  let wakeTimer: NodeJS.Timeout | undefined;

  /** Looks at every socket and says who receives: how many by each dialect's topic, and who needs frames of its own. */
  const audienceOf = (cell: Cell, { interrupted }: HandOver) => {
    const native = new Map<Dialect, number>();
    const single: Subscriber[] = [];
    for (const member of cell.members) {
      const { subscriber } = member;
      if (member.receives) {
        const buffered = subscriber.bufferedBytes();
        if (buffered === Infinity) {
          subscriber.handleLostFrame();
          continue;
        }
        // A parked one is to drain before it gets anything.
        if (subscriber.parked || buffered > HIGH_BYTES) fallBehind(member);
        else if (member.native) native.set(subscriber.dialect, (native.get(subscriber.dialect) ?? 0) + 1);
        else single.push(subscriber);
      }
      if (!member.receives) member.missedUnknown ||= interrupted;
    }
    return { native, single };
  };

  const countHandedOver = (receivers: number, { messages, thinned, overrun, interrupted }: HandOver): void => {
    hot.deliveries += receivers * messages.length;
    const gaps = [thinned > 0, overrun > 0, interrupted].filter(Boolean).length;
    if (gaps > 0) metrics.count('weir_gaps_total', { reason: 'dropped' }, receivers * gaps);
    if (thinned > 0) metrics.count('weir_messages_dropped_total', { reason: 'thinned' }, receivers * thinned);
    if (overrun > 0) metrics.count('weir_messages_dropped_total', { reason: 'overrun' }, receivers * overrun);
  };

  /** Returns how many sockets were looked at. */
  const serveCell = ({ channel, handOver, frames }: Pass, cell: Cell): number => {
    const looked = cell.members.size;
    const { native, single } = audienceOf(cell, handOver);
    const framesOf = (dialect: Dialect): readonly Buffer[] => {
      let known = frames.get(dialect);
      if (known === undefined) frames.set(dialect, (known = encode(dialect, channel, handOver)));
      return known;
    };
    const countSent = (receivers: number, sent: readonly Buffer[]): void => {
      hot.framesSent += receivers * sent.length;
      for (const { length } of sent) hot.bytesSent += receivers * length;
      countHandedOver(receivers, handOver);
    };
    cell.handed += handOver.messages.length + handOver.thinned + handOver.overrun;
    for (const [dialect, receivers] of native) {
      const sent = framesOf(dialect);
      for (const frame of sent) publishNative(topicOf(dialect, cell, channel), frame);
      countSent(receivers, sent);
    }
    for (const subscriber of single) {
      const sent = framesOf(subscriber.dialect);
      for (const frame of sent) subscriber.sendFrame(frame);
      countSent(1, sent);
    }
    return looked;
  };

  const wake = (): void => {
    wakeTimer = undefined;
    const nowMs = clock.monotonicMs();
    for (const channel of resting) {
      if (channel.restsUntilMs! > nowMs) {
        wakeTimer = setTimeout(wake, Math.ceil(channel.restsUntilMs! - nowMs));
        return;
      }
      resting.delete(channel);
      channel.restsUntilMs = undefined;
      markDirty(channel);
    }
  };

  const rest = (channel: EphemeralChannel): void => {
    channel.restsUntilMs = clock.monotonicMs() + restMs;
    resting.add(channel);
    wakeTimer ??= setTimeout(wake, restMs);
  };

  /** What is handed over next, if anything may be in this turn. */
  const nextPass = (maxBytes: number): Pass | null => {
    if (maxBytes <= 0) return null;
    for (const channel of dirty) {
      dirty.delete(channel);
      if (channel.status !== 'open' || channel.waiting.isEmpty) continue;
      if (isThinned()) {
        channel.waiting.thin();
        rest(channel);
      }
      const handOver = channel.waiting.take(maxBytes);
      const bytes = handOver.messages.reduce((sum, { body }) => sum + body.length, 0);
      return { channel, handOver, bytes, cells: [...channel.cells], frames: new Map() };
    }
    return null;
  };

  const turn = (): void => {
    scheduled = false;
    if (closed) return;
    const startedMs = clock.monotonicMs();
    let bytesLeft = TURN_BYTES - (pass?.bytes ?? 0);
    let socketsLeft = CELL_MEMBERS;
    while (socketsLeft > 0) {
      if (pass === null) {
        pass = nextPass(bytesLeft);
        if (pass === null) break;
        bytesLeft -= pass.bytes;
      }
      const cell = pass.cells.at(-1);
      if (cell === undefined) {
        const { channel } = pass;
        pass = null;
        // Behind the others, so that a busy channel does not keep a quiet one waiting.
        markDirty(channel);
        continue;
      }
      if (socketsLeft < CELL_MEMBERS && cell.members.size > socketsLeft) break;
      pass.cells.pop();
      socketsLeft -= serveCell(pass, cell);
    }
    hot.flushingMs += clock.monotonicMs() - startedMs;
    if (pass !== null || dirty.size > 0) schedule(0);
  };

  const schedule = (ms: number): void => {
    if (scheduled || closed) return;
    scheduled = true;
    if (ms < 1) setImmediate(turn);
    else turnTimer = setTimeout(turn, ms);
  };

  const markDirty = (channel: EphemeralChannel): void => {
    if (channel.waiting.isEmpty || channel.restsUntilMs !== undefined || pass?.channel === channel) return;
    dirty.add(channel);
    schedule(delayMs());
  };

  return {
    markDirty,
    forget(channel) {
      dirty.delete(channel);
      resting.delete(channel);
      channel.restsUntilMs = undefined;
    },
    close() {
      closed = true;
      clearTimeout(turnTimer);
      clearTimeout(wakeTimer);
    },
  };
};
