// The shared state of a one-process cluster: numbered channel logs, seen message ids, who listens, and node leases.
import type { ChannelPosition, EphemeralMessage, PublishResult } from '../broker.ts';
import type { BrokerClock } from '../clock.ts';
import type { ControlHandler, NodeRecord } from '../control.ts';
import type { HistoryPage, HistoryQuery } from '../history.ts';
import type { EphemeralRequest, Publication, PublishRequest } from '../publication.ts';
import {
  IDEMPOTENCY_WINDOW_MS,
  NUMBERING_TTL_MS,
  randomEpoch,
  systemClock,
  UNPUBLISHED_NUMBERING_TTL_MS,
} from '../clock.ts';
import { createKeptLog, type KeptLog } from './kept-log.ts';
import { createLifecycleTable, type LifecycleTable } from './lifecycle-table.ts';
import { createLimitTable, type LimitTable } from './limit-table.ts';
import { createRevocationTable, type RevocationTable } from './revocation-table.ts';
import { createSessionTable, type SessionTable } from './session-table.ts';

/** One broker's place on the backplane. */
export interface Attachment {
  readonly handlers: ReadonlyMap<string, ControlHandler>;
  /** Takes a publication for later delivery; never delivers inside the call. */
  accept(channel: string, epoch: string, publication: Publication): void;
  /** The same for one that has no position. */
  acceptEphemeral(channel: string, message: EphemeralMessage): void;
}

export interface Lease {
  readonly record: NodeRecord;
  readonly expiresAtMs: number;
  readonly holder: Attachment;
}

export interface MemoryBackplane {
  readonly clock: BrokerClock;
  readonly sessions: SessionTable;
  readonly limits: LimitTable;
  readonly lifecycle: LifecycleTable;
  readonly revocations: RevocationTable;
  publish(request: PublishRequest): PublishResult;
  publishEphemeral(request: EphemeralRequest): void;
  read(query: HistoryQuery): HistoryPage;
  position(channel: string): ChannelPosition;
  subscribe(channel: string, attachment: Attachment): void;
  unsubscribe(channel: string, attachment: Attachment): void;
  announce(lease: Lease): void;
  /** Leases that are not over, ordered by node name. */
  leases(): Lease[];
  /** Ends the lease this attachment holds. */
  release(holder: Attachment): void;
  /** What is held at the moment, for tests of its bounds. */
  sizes(): { readonly channels: number; readonly messageIds: number; readonly listeners: number };
}

export interface MemoryBackplaneOptions {
  readonly clock?: BrokerClock;
  /** Names epochs; must not repeat. */
  readonly randomId?: () => string;
  readonly idempotencyWindowMs?: number;
  /** How long a channel keeps its numbering after its last publication, ms. */
  readonly numberingTtlMs?: number;
}

interface Channel {
  readonly epoch: string;
  readonly log: KeptLog;
  offset: number;
  /** Of the last publication; of the read that made the numbering as long as there is none. */
  touchedMs: number;
  historyTtlMs: number;
}

interface SeenMessage {
  readonly position: ChannelPosition;
  readonly expiresAtMs: number;
}

/** Idle channels looked at per call: more than one, so that a sweep ends before the map can double. */
const SWEPT_PER_CALL = 2;

export const createMemoryBackplane = (options: MemoryBackplaneOptions = {}): MemoryBackplane => {
  const clock = options.clock ?? systemClock;
  const randomId = options.randomId ?? randomEpoch;
  const idempotencyWindowMs = options.idempotencyWindowMs ?? IDEMPOTENCY_WINDOW_MS;
  const numberingTtlMs = options.numberingTtlMs ?? NUMBERING_TTL_MS;

  const unpublishedTtlMs = Math.min(numberingTtlMs, UNPUBLISHED_NUMBERING_TTL_MS);

  const channels = new Map<string, Channel>();
  const listeners = new Map<string, Set<Attachment>>();
  const leases = new Map<string, Lease>();
  // In order of expiry, because every entry lives equally long.
  const seen = new Map<string, SeenMessage>();
  let sweep = channels.entries();

  const isOver = ({ offset, touchedMs }: Channel, nowMs: number): boolean =>
    touchedMs < nowMs - (offset === 0 ? unpublishedTtlMs : numberingTtlMs);

  const sweepIdle = (nowMs: number): void => {
    for (let i = 0; i < SWEPT_PER_CALL; i += 1) {
      const next = sweep.next();
      if (next.done === true) {
        sweep = channels.entries();
        return;
      }
      const [name, channel] = next.value;
      if (channel.touchedMs < nowMs - channel.historyTtlMs) channel.log.clear();
      if (isOver(channel, nowMs)) channels.delete(name);
    }
  };

  const forgetMessages = (nowMs: number): void => {
    for (const [id, message] of seen) {
      if (message.expiresAtMs > nowMs) return;
      seen.delete(id);
    }
  };

  const channelOf = (name: string, nowMs: number): Channel => {
    sweepIdle(nowMs);
    const known = channels.get(name);
    if (known !== undefined && !isOver(known, nowMs)) return known;
    const channel: Channel = {
      epoch: randomId(),
      log: createKeptLog(),
      offset: 0,
      touchedMs: nowMs,
      historyTtlMs: 0,
    };
    channels.set(name, channel);
    return channel;
  };

  return {
    clock,
    sessions: createSessionTable(clock),
    limits: createLimitTable(clock),
    lifecycle: createLifecycleTable(clock),
    revocations: createRevocationTable(clock),
    publish({ channel: name, body, timeMs, key, messageId, history }) {
      const nowMs = clock.nowMs();
      forgetMessages(nowMs);
      // Neither channel names nor the separator may make two pairs collide: a channel never holds a line feed.
      const seenId = messageId === undefined ? undefined : `${name}\n${messageId}`;
      const first = seenId === undefined ? undefined : seen.get(seenId);
      if (first !== undefined) return { ...first.position, duplicate: true };

      const channel = channelOf(name, nowMs);
      channel.offset += 1;
      channel.touchedMs = nowMs;
      channel.historyTtlMs = history.ttlMs;
      const position = { epoch: channel.epoch, offset: channel.offset };
      // The request's body may be a view of memory that its owner uses again.
      const publication: Publication = {
        offset: channel.offset,
        timeMs,
        key,
        body: Buffer.from(body),
        bodyBytes: body.length,
      };
      if (history.size > 0) channel.log.append(publication, history, nowMs);
      else channel.log.clear();
      if (seenId !== undefined) seen.set(seenId, { position, expiresAtMs: nowMs + idempotencyWindowMs });
      const audience = listeners.get(name);
      if (audience !== undefined) for (const listener of audience) listener.accept(name, channel.epoch, publication);
      return { ...position, duplicate: false };
    },
    publishEphemeral({ channel, body, timeMs, key }) {
      const audience = listeners.get(channel);
      if (audience === undefined) return;
      const message = { body: Buffer.from(body), timeMs, key };
      for (const listener of audience) listener.acceptEphemeral(channel, message);
    },
    read(query) {
      const nowMs = clock.nowMs();
      const channel = channelOf(query.channel, nowMs);
      return {
        position: { epoch: channel.epoch, offset: channel.offset },
        ...channel.log.select(query, channel.offset, nowMs),
      };
    },
    position(name) {
      const { epoch, offset } = channelOf(name, clock.nowMs());
      return { epoch, offset };
    },
    subscribe(channel, attachment) {
      const audience = listeners.get(channel);
      if (audience === undefined) listeners.set(channel, new Set([attachment]));
      else audience.add(attachment);
    },
    unsubscribe(channel, attachment) {
      const audience = listeners.get(channel);
      if (audience === undefined) return;
      audience.delete(attachment);
      if (audience.size === 0) listeners.delete(channel);
    },
    announce(lease) {
      leases.set(lease.record.node, lease);
    },
    leases() {
      const nowMs = clock.nowMs();
      for (const [node, lease] of leases) if (lease.expiresAtMs <= nowMs) leases.delete(node);
      return [...leases.values()].sort((a, b) => (a.record.node < b.record.node ? -1 : 1));
    },
    release(holder) {
      for (const [node, lease] of leases) if (lease.holder === holder) leases.delete(node);
    },
    sizes: () => ({ channels: channels.size, messageIds: seen.size, listeners: listeners.size }),
  };
};
