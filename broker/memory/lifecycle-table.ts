// The lifecycle events of a one-process cluster: kept as long as the process lives.
import type { BrokerClock } from '../clock.ts';
import {
  LANE_STEP_MS,
  LIFECYCLE_LANES,
  type LifecycleChange,
  type LifecycleEvent,
  type LifecycleLog,
  type LifecycleTerms,
  type LifecycleType,
  NODE_LOST,
} from '../lifecycle.ts';

type Settled<T> = T extends Promise<infer R> ? R : never;

/** The same as `LifecycleLog`, at once. */
export type LifecycleTable = {
  readonly [K in keyof LifecycleLog]: (...args: Parameters<LifecycleLog[K]>) => Settled<ReturnType<LifecycleLog[K]>>;
};

interface Life {
  seq: number;
  /** On the lane's clock. */
  untilMs: number;
  /** `about` by key. */
  readonly connections: Map<string, string>;
  readonly channels: Set<string>;
}

interface KeptEvent {
  readonly event: LifecycleEvent;
  readonly storedAtMs: number;
}

/** Lives that were taken out and are remembered: a node that comes back later than so many others is new. */
const MAX_RETIRED = 10_000;

const createLane = (clock: BrokerClock, number: number) => {
  const lives = new Map<string, Life>();
  const retired = new Set<string>();
  const lifeCounts = new Map<string, number>();
  /** Channel by the end of its grace. */
  const vacating = new Map<string, number>();
  // In order of position.
  const log = new Map<string, KeptEvent>();
  let holder: { readonly name: string; readonly untilMs: number } | undefined;
  let lastPosition = 0;
  let losses = 0;
  let lost = 0;
  let laneMs = 0;
  let tickedAtMs = clock.nowMs();

  /** See `LifecycleLog`: stands still while nobody calls. */
  const tick = (): void => {
    const nowMs = clock.nowMs();
    laneMs += Math.max(0, Math.min(LANE_STEP_MS, nowMs - tickedAtMs));
    tickedAtMs = nowMs;
  };

  const append = (type: LifecycleType, id: string, timeMs: number, subject: string, detail: string): void => {
    const position = String((lastPosition += 1));
    log.set(position, { event: { position, type, id, timeMs, subject, detail }, storedAtMs: clock.nowMs() });
  };
  const settleLost = ({ maxEvents }: LifecycleTerms): void => {
    if (lost === 0 || log.size >= maxEvents) return;
    losses += 1;
    append('lost', `${number}.${tickedAtMs}.${losses}.full`, tickedAtMs, '', String(lost));
    lost = 0;
  };
  const emit = (terms: LifecycleTerms, ...event: Parameters<typeof append>): void => {
    settleLost(terms);
    if (log.size < terms.maxEvents) append(...event);
    else lost += 1;
  };

  const leave = (channel: string, { graceMs }: LifecycleTerms): void => {
    const left = lifeCounts.get(channel)! - 1;
    lifeCounts.set(channel, left);
    if (left > 0) return;
    lifeCounts.delete(channel);
    vacating.set(channel, laneMs + graceMs);
  };

  const join = (life: Life, channel: string): boolean => {
    if (life.channels.has(channel)) return false;
    life.channels.add(channel);
    const count = (lifeCounts.get(channel) ?? 0) + 1;
    lifeCounts.set(channel, count);
    return count === 1 && !vacating.delete(channel);
  };

  const retire = (name: string, terms: LifecycleTerms): void => {
    retired.add(name);
    if (retired.size > MAX_RETIRED) for (const oldest of retired) if (retired.delete(oldest)) break;
    if (holder !== undefined && name.startsWith(`${holder.name}.`)) holder = undefined;
    const life = lives.get(name);
    if (life === undefined) return;
    lives.delete(name);
    for (const [key, about] of life.connections)
      emit(terms, 'disconnected', `${key}.disconnected`, tickedAtMs, about, NODE_LOST);
    for (const channel of life.channels) leave(channel, terms);
  };

  const apply = (life: Life, change: LifecycleChange, id: string, terms: LifecycleTerms): void => {
    const { timeMs } = change;
    switch (change.kind) {
      case 'connected':
        life.connections.set(change.key, change.about);
        emit(terms, 'connected', `${change.key}.connected`, timeMs, change.about, '');
        return;
      case 'disconnected':
        life.connections.delete(change.key);
        emit(terms, 'disconnected', `${change.key}.disconnected`, timeMs, change.about, change.detail);
        return;
      case 'joined':
        if (join(life, change.channel) || change.again === true)
          emit(terms, 'occupied', `${id}.occupied`, timeMs, change.channel, '');
        return;
      case 'left':
        if (life.channels.delete(change.channel)) leave(change.channel, terms);
        return;
      case 'lost':
        emit(terms, 'lost', `${id}.lost`, timeMs, '', change.detail);
    }
  };

  return {
    record: (({ life: name, seq, changes }, terms) => {
      tick();
      if (retired.has(name)) return { kind: 'retired' };
      let life = lives.get(name);
      const isBatch = changes.length > 0;
      if (life === undefined) {
        if (!isBatch || seq !== 1) return { kind: 'unknown' };
        life = { seq: 0, untilMs: 0, connections: new Map(), channels: new Set() };
        lives.set(name, life);
      }
      if (life.seq < (isBatch ? seq - 1 : seq)) return { kind: 'behind', seq: life.seq };
      life.untilMs = laneMs + terms.leaseMs;
      if (life.seq >= seq) return { kind: 'recorded' };
      life.seq = seq;
      for (const [n, change] of changes.entries()) apply(life, change, `${number}.${name}.${seq}.${n}`, terms);
      return { kind: 'recorded' };
    }) satisfies LifecycleTable['record'],
    take: (({ holder: name, wish, limit }, terms) => {
      tick();
      settleLost(terms);
      for (const [over, { untilMs }] of lives) if (untilMs <= laneMs) retire(over, terms);
      for (const [channel, dueMs] of vacating) {
        if (dueMs > laneMs) continue;
        vacating.delete(channel);
        emit(terms, 'vacated', `${dueMs}.${channel}.vacated`, tickedAtMs, channel, '');
      }
      const isMine = holder?.name === name;
      if (wish.kind === 'leave' && isMine) holder = undefined;
      else if (wish.kind === 'hold' && (isMine || holder === undefined || holder.untilMs <= laneMs))
        holder = { name, untilMs: laneMs + wish.holdMs };
      const isHeld = holder?.name === name;
      const oldest = log.values().next().value;
      const events: LifecycleEvent[] = [];
      for (const { event } of log.values()) {
        if (!isHeld || events.length === limit) break;
        events.push(event);
      }
      return {
        isHeld,
        events,
        backlog: log.size,
        oldestMs: oldest === undefined ? 0 : Math.max(0, tickedAtMs - oldest.storedAtMs),
        isUnfinished: false,
      };
    }) satisfies LifecycleTable['take'],
    acknowledge(positions: readonly string[]): void {
      for (const position of positions) log.delete(position);
    },
    retire(life: string, terms: LifecycleTerms): true {
      tick();
      retire(life, terms);
      return true;
    },
  };
};

export const createLifecycleTable = (clock: BrokerClock): LifecycleTable => {
  const lanes = Array.from({ length: LIFECYCLE_LANES }, (_, lane) => createLane(clock, lane));
  return {
    record: (batch, terms) => lanes[batch.lane]!.record(batch, terms),
    take: (request, terms) => lanes[request.lane]!.take(request, terms),
    acknowledge: (lane, positions) => lanes[lane]!.acknowledge(positions),
    retire: (lane, life, terms) => lanes[lane]!.retire(life, terms),
  };
};
