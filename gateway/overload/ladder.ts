// The overload ladder: how pressure becomes a level, one rung at a time up and one at a time down. Pure: samples and times in.
//
// A signal *presses* at its threshold and is *calm* below 80 % of it; in between nothing changes. The level rises one rung
// per step while a signal presses, and falls one rung per release while all are calm. A rung that had to be engaged again
// soon after its release waits twice as long the next time, so that a measure that works does not undo itself for ever.

/** Rungs in the order in which they engage; the number of a rung is its place, from 1. */
export const RUNGS = [
  'thin_ephemeral',
  'coalesce_longer',
  'refuse_anonymous',
  'refuse_fallback',
  'move_idle',
  'refuse_new',
  'refuse_client_publishes',
  'refuse_server_publishes',
] as const;
export type Rung = (typeof RUNGS)[number];

/** What is measured, in the order in which reasons are listed. */
export const SIGNALS = ['lag', 'cpu', 'memory', 'buffered', 'broker'] as const;
export type Signal = (typeof SIGNALS)[number];

/** Each signal as a share of its threshold: 1 presses. */
export type Pressures = Readonly<Record<Signal, number>>;

/** 0: nothing is engaged. Otherwise rungs 1 to `level` are. */
export type Level = number;

export const MAX_LEVEL: Level = RUNGS.length;

/**
 * How far a signal alone may raise the level. Bytes buffered for sockets come from who is connected, not from who publishes:
 * the budget parks and closes the debtors, and refusing publishes would punish everybody else.
 */
const HIGHEST: Readonly<Record<Signal, Level>> = {
  lag: MAX_LEVEL,
  cpu: MAX_LEVEL,
  memory: MAX_LEVEL,
  buffered: RUNGS.indexOf('refuse_new') + 1,
  broker: MAX_LEVEL,
};

/** Share of its threshold below which a signal no longer holds a rung. */
const CALM = 0.8;
/** Longest wait before a rung that keeps coming back is released, in releases. */
const MAX_BACKOFF = 16;

export interface LadderOptions {
  /** Time a signal presses before the next rung engages, ms. */
  readonly stepMs: number;
  /** Time all signals are calm before the highest rung is released, ms. */
  readonly releaseMs: number;
}

export interface LadderChange {
  readonly kind: 'engaged' | 'released';
  /** The rung that changed, from 1. */
  readonly rung: number;
  /** Why it was engaged, at the moment it was. */
  readonly reasons: readonly Signal[];
}

export interface Ladder {
  readonly level: Level;
  /** Signals that press now, or hold the level; empty when nothing is engaged. */
  readonly reasons: readonly Signal[];
  /**
   * @param busy the highest rung still turns somebody away: it is what keeps the signals calm, and stays
   * @returns the change this sample made; at most one rung
   */
  observe(pressures: Pressures, nowMs: number, busy?: boolean): LadderChange | undefined;
}

interface Held {
  readonly reasons: readonly Signal[];
  readonly backoff: number;
}

export const createLadder = ({ stepMs, releaseMs }: LadderOptions): Ladder => {
  /** Engaged rungs, from 1. */
  const engaged: Held[] = [];
  /** Of each rung, when it was released last, and how often it came back since it last stayed away. */
  const released = RUNGS.map(() => ({ atMs: -Infinity, backoff: 1 }));
  let pressingSinceMs: number | undefined;
  let calmSinceMs: number | undefined;
  let reasons: readonly Signal[] = [];

  const engage = (pressing: readonly Signal[], nowMs: number): LadderChange => {
    const before = released[engaged.length]!;
    const cameBack = nowMs - before.atMs < releaseMs * before.backoff * 2;
    const backoff = cameBack ? Math.min(before.backoff * 2, MAX_BACKOFF) : 1;
    engaged.push({ reasons: pressing, backoff });
    pressingSinceMs = nowMs;
    return { kind: 'engaged', rung: engaged.length, reasons: pressing };
  };

  const release = (nowMs: number): LadderChange => {
    const rung = engaged.length;
    const { reasons: because, backoff } = engaged.pop()!;
    released[rung - 1] = { atMs: nowMs, backoff };
    calmSinceMs = nowMs;
    return { kind: 'released', rung, reasons: because };
  };

  return {
    get level() {
      return engaged.length;
    },
    get reasons() {
      return reasons;
    },
    observe(pressures, nowMs, busy = false) {
      const level = engaged.length;
      const pressing = SIGNALS.filter((signal) => pressures[signal] >= 1 && HIGHEST[signal] > level);
      const holding = SIGNALS.filter((signal) => pressures[signal] >= CALM && HIGHEST[signal] >= level);
      reasons = level === 0 && pressing.length === 0 ? [] : holding;
      if (pressing.length > 0) {
        calmSinceMs = undefined;
        pressingSinceMs ??= nowMs;
        return nowMs - pressingSinceMs >= stepMs ? engage(pressing, nowMs) : undefined;
      }
      pressingSinceMs = undefined;
      if (level === 0 || holding.length > 0 || busy) {
        calmSinceMs = undefined;
        return undefined;
      }
      calmSinceMs ??= nowMs;
      return nowMs - calmSinceMs >= releaseMs * engaged[level - 1]!.backoff ? release(nowMs) : undefined;
    },
  };
};
