// Heads of channels as the broker knows them: read together for those that are opened together, and compared after an interruption.
import { BrokerUnavailableError, type ChannelPosition } from '../../broker/broker.ts';
import type { History } from '../../broker/history.ts';
import type { ChannelState } from './channel-state.ts';

/** Channels whose positions are asked for in one round trip. */
const POSITIONS_PER_CALL = 500;
/** Pause before a comparison that failed is tried again, ms. */
const COMPARE_RETRY_MS = 200;

type Positions = Pick<History, 'positions'>;

const partsOf = <T>(items: readonly T[]): T[][] => {
  const parts: T[][] = [];
  for (let start = 0; start < items.length; start += POSITIONS_PER_CALL) {
    parts.push(items.slice(start, start + POSITIONS_PER_CALL));
  }
  return parts;
};

export interface PositionReader {
  /** Rejects as `History.positions` does. */
  read(channel: string): Promise<ChannelPosition>;
}

/** Positions of all channels that are asked for in one tick are read together. */
export const createPositionReader = (history: Positions): PositionReader => {
  let asked: { channel: string; resolve: (position: ChannelPosition) => void; reject: (error: Error) => void }[] = [];
  const readAsked = (): void => {
    const questions = asked;
    asked = [];
    for (const part of partsOf(questions)) {
      history.positions(part.map(({ channel }) => channel)).then(
        (positions) => part.forEach((question, index) => question.resolve(positions[index]!)),
        (error: unknown) => part.forEach((question) => question.reject(error as Error)),
      );
    }
  };
  return {
    read: (channel) =>
      new Promise((resolve, reject) => {
        asked.push({ channel, resolve, reject });
        if (asked.length === 1) setImmediate(readAsked);
      }),
  };
};

export interface ComparisonOptions {
  readonly history: Positions;
  /** The channel's log lags behind the broker, or is of another epoch. */
  readonly heal: (channel: ChannelState) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Comparison {
  /** Compares every channel with the broker and heals those that differ; resolves when all were compared. */
  run(channels: Iterable<ChannelState>): Promise<void>;
  close(): void;
}

export const createComparison = ({ history, heal, onError }: ComparisonOptions): Comparison => {
  const timers = new Set<NodeJS.Timeout>();
  let closed = false;

  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        resolve();
      }, COMPARE_RETRY_MS);
      timers.add(timer);
    });

  /** Live channels meanwhile deliver on: a hole that shows heals by itself, only silent ones depend on the comparison. */
  const compare = async (part: readonly ChannelState[]): Promise<void> => {
    let positions: readonly ChannelPosition[] | undefined;
    while (positions === undefined && !closed) {
      positions = await history.positions(part.map(({ name }) => name)).catch((error: unknown) => {
        if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'compare' });
        return undefined;
      });
      if (positions === undefined) await pause();
    }
    for (const [index, channel] of part.entries()) {
      const position = positions?.[index];
      if (position === undefined || channel.status !== 'live') continue;
      if (position.epoch !== channel.log.epoch || position.offset > channel.log.head) heal(channel);
    }
  };

  return {
    async run(channels) {
      const live: ChannelState[] = [];
      for (const channel of channels) {
        if (channel.status === 'live') live.push(channel);
        // A read under way may be from before the interruption ended.
        else channel.incomplete = true;
      }
      await Promise.all(partsOf(live).map(compare));
    },
    close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
    },
  };
};
