// The signals of overload: raw readings in, each smoothed and as a share of its threshold out.
import { type Pressures, type Signal, SIGNALS } from './ladder.ts';

/** What is measured right now. */
export interface Readings {
  /** Mean delay of the event loop, ms. */
  readonly lag: number;
  /**
   * Share of the time in which the event loop had work that cannot wait, 0 to 1. Counts as far as the loop is late as well. A loop that
   * is refused its core is as full as one that uses it: it takes no more either way.
   */
  readonly cpu: number;
  /** Resident memory, bytes. */
  readonly memory: number;
  /** Bytes held for clients: outboxes, requests, pages; channel logs apart. */
  readonly buffered: number;
  /** Mean time the broker took to confirm publications since the last sample, ms; undefined when there were none. */
  readonly broker: number | undefined;
}

/** At which reading a signal presses, in its own unit; 0 turns it off. */
export type Thresholds = Readonly<Record<Signal, number>>;

export interface Signals {
  /** Shares as of the newest sample. */
  readonly pressures: Pressures;
  /**
   * Takes a sample; the caller repeats it every `SAMPLE_MS`.
   * @param turnsAway publications are refused because they would wait too long: the loop is full, and would be late without
   */
  sample(readings: Readings, turnsAway?: boolean): Pressures;
}

/** Pause between two samples, ms. */
export const SAMPLE_MS = 100;
/** Part of a new sample in the smoothed value: one of 100 ms counts for about 300 ms. */
const WEIGHT_OF_SAMPLE = 0.3;
/** Bytes change slowly and are no rate: smoothing would only tell late what is so already. */
const SMOOTHED: Readonly<Record<Signal, boolean>> = {
  lag: true,
  cpu: true,
  memory: false,
  buffered: false,
  broker: true,
};

/**
 * Mean delays of the loop, as shares of the threshold of `lag`, between which `cpu` comes to count. A loop is busy long before it is
 * full: with little to do in each turn, a publication costs it twice what it costs when many share a turn. Busy and late is full.
 */
const LATE = { from: 0.1, full: 0.4 } as const;

export const NO_PRESSURE: Pressures = { lag: 0, cpu: 0, memory: 0, buffered: 0, broker: 0 };

export const createSignals = (thresholds: Thresholds): Signals => {
  let pressures = NO_PRESSURE;
  /** How far being busy means being full, 0 to 1. */
  const lateness = (lagMs: number): number => {
    if (thresholds.lag === 0) return 1;
    return Math.min(1, Math.max(0, (lagMs / thresholds.lag - LATE.from) / (LATE.full - LATE.from)));
  };
  const shareOf = (signal: Signal, reading: number | undefined): number => {
    const threshold = thresholds[signal];
    if (threshold === 0) return 0;
    // Without publications nobody waits for the broker.
    const share = (reading ?? 0) / threshold;
    if (!SMOOTHED[signal]) return share;
    return pressures[signal] + (share - pressures[signal]) * WEIGHT_OF_SAMPLE;
  };
  return {
    get pressures() {
      return pressures;
    },
    sample(readings, turnsAway = false) {
      const counted = { ...readings, cpu: readings.cpu * (turnsAway ? 1 : lateness(readings.lag)) };
      pressures = Object.fromEntries(
        SIGNALS.map((signal) => [signal, shareOf(signal, counted[signal])]),
      ) as unknown as Pressures;
      return pressures;
    },
  };
};

/** The highest share of all signals. */
export const highest = (pressures: Pressures): number => Math.max(...SIGNALS.map((signal) => pressures[signal]));
