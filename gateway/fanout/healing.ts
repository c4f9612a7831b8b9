// Brings a channel log up to date from the broker's history after publications were missed.
//
// One rule: the log only moves upwards, by publications where the history still has them, by a gap receipt where it has
// not. Runs that arrive meanwhile are held by the channel state and join at the end; what they already contain is not
// declared lost even when the history keeps nothing.
import { BrokerUnavailableError, type ChannelPosition, type PublicationRun } from '../../broker/broker.ts';
import type { History, HistoryPage } from '../../broker/history.ts';
import type { HistoryBounds } from '../../broker/publication.ts';
import { MAX_HISTORY_LIMIT } from '../../protocol/limits.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { ChannelState } from './channel-state.ts';

/** Heals that read history at the same time; the rest wait their turn. */
const MAX_CONCURRENT_HEALS = 8;
/** Bytes of runs one channel may hold; beyond it they are dropped and read from the history instead. */
const MAX_HELD_BYTES = 1 << 20;
/** The same for all channels of a node together: after an interruption thousands heal, eight at a time. */
const MAX_HELD_ON_NODE_BYTES = 32 << 20;
/** Pause before a heal tries again while the broker is away, ms. */
const RETRY_MS = 200;

export interface HealingOptions {
  readonly history: History;
  readonly metrics: MetricsRegistry;
  readonly boundsOf: (channel: string) => HistoryBounds;
  /** The log of the channel moved. */
  readonly onProgress: (channel: ChannelState) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Healing {
  /** Puts a live channel into `healing` and starts; for a channel that heals already it does nothing. */
  heal(channel: ChannelState): void;
  /** Resolves when no channel is healing, at once when none is. */
  settled(): Promise<void>;
  close(): void;
}

/** Keeps a run for later; over a bound everything the channel holds is dropped and read from the history instead. */
export const hold = (channel: ChannelState, run: PublicationRun): void => {
  const { heldOnNode } = channel;
  for (const { bodyBytes } of run.publications) {
    channel.heldBytes += bodyBytes;
    heldOnNode.bytes += bodyBytes;
  }
  channel.held.push(run);
  if (channel.heldBytes <= MAX_HELD_BYTES && heldOnNode.bytes <= MAX_HELD_ON_NODE_BYTES) return;
  channel.incomplete = true;
  releaseHeld(channel);
};

/** Lets go of what is held; answers what it was. */
export const releaseHeld = (channel: ChannelState): PublicationRun[] => {
  const { held } = channel;
  channel.held = [];
  channel.heldOnNode.bytes -= channel.heldBytes;
  channel.heldBytes = 0;
  return held;
};

/**
 * Drops runs of an ended life of the numbering: the first `count` held runs arrived before a read that found `epoch`, so
 * another epoch among them is older. What it carried is part of the epoch's gap receipt.
 */
const dropDead = (channel: ChannelState, count: number, epoch: string): void => {
  const runs = releaseHeld(channel);
  for (const [index, run] of runs.entries()) if (index >= count || run.epoch === epoch) hold(channel, run);
};

/** First offset the held runs of this epoch contain, or one beyond `position` when they contain none. */
const firstHeldOffset = (channel: ChannelState, position: ChannelPosition): number => {
  for (const run of channel.held) {
    const first = run.publications[0];
    if (run.epoch === position.epoch && first !== undefined) return first.offset;
  }
  return position.offset + 1;
};

/**
 * Applies one page read after `channel.log.head`. Returns whether the log has reached what the page knows (`done`), there
 * is more to read (`more`), and how many offsets had to be declared lost.
 */
const applyPage = (
  channel: ChannelState,
  page: HistoryPage,
): { readonly progress: 'done' | 'more'; readonly lost: number } => {
  const { log } = channel;
  if (page.position.epoch !== log.epoch) {
    // The page was read after an offset of the old life; nothing in it can be trusted to be the beginning of the new one.
    log.changeEpoch({ epoch: page.position.epoch, offset: 0 }, null);
    return { progress: 'more', lost: 0 };
  }
  let lost = 0;
  const first = page.publications[0];
  if (first !== undefined) {
    lost += log.lose(first.offset - 1, 'lost');
    log.append({ channel: channel.name, epoch: log.epoch, publications: page.publications });
  }
  if (page.more && first !== undefined) return { progress: 'more', lost };
  const reach = Math.min(page.position.offset, firstHeldOffset(channel, page.position) - 1);
  lost += log.lose(reach, 'lost');
  return { progress: 'done', lost };
};

/** Moves held runs into the log. Returns false when another read is needed: one does not join, or something was missed. */
export const joinHeld = (channel: ChannelState): boolean => {
  const runs = releaseHeld(channel);
  for (const [index, run] of runs.entries()) {
    const outcome = channel.log.append(run);
    if (outcome === 'hole' || outcome === 'other-epoch') {
      for (const rest of runs.slice(index)) hold(channel, rest);
      return false;
    }
  }
  return !channel.incomplete;
};

export const createHealing = ({ history, metrics, boundsOf, onProgress, onError }: HealingOptions): Healing => {
  const waiting: ChannelState[] = [];
  const timers = new Set<NodeJS.Timeout>();
  const unsettled = new Set<ChannelState>();
  let onSettled: (() => void)[] = [];
  let running = 0;
  let closed = false;

  const tellSettled = (): void => {
    if (unsettled.size > 0) return;
    const listeners = onSettled;
    onSettled = [];
    for (const listener of listeners) listener();
  };

  const isHealing = (channel: ChannelState): boolean => !closed && channel.status === 'healing';

  const readPage = (channel: ChannelState): Promise<HistoryPage> =>
    history.read({
      channel: channel.name,
      start: { kind: 'after', offset: channel.log.head },
      limit: MAX_HISTORY_LIMIT,
      reverse: false,
      bounds: boundsOf(channel.name),
    });

  const run = async (channel: ChannelState): Promise<void> => {
    let lost = 0;
    while (isHealing(channel)) {
      const { epoch } = channel.log;
      const heldBefore = channel.held.length;
      channel.incomplete = false;
      const page = await readPage(channel);
      if (!isHealing(channel)) return;
      dropDead(channel, heldBefore, page.position.epoch);
      const applied = applyPage(channel, page);
      if (channel.log.epoch !== epoch) metrics.count('weir_gaps_total', { reason: 'epoch' });
      lost += applied.lost;
      onProgress(channel);
      if (applied.progress === 'done' && joinHeld(channel)) break;
    }
    if (!isHealing(channel)) return;
    channel.status = 'live';
    if (lost > 0) metrics.count('weir_gaps_total', { reason: 'lost' });
    metrics.count('weir_heals_total', { outcome: lost > 0 ? 'gap' : 'complete' });
    onProgress(channel);
  };

  const pump = (): void => {
    while (running < MAX_CONCURRENT_HEALS && waiting.length > 0) {
      const channel = waiting.shift()!;
      running++;
      run(channel)
        .then(() => unsettled.delete(channel))
        .catch((error: unknown) => {
          if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'heal' });
          // The channel stays in `healing`: nothing later may overtake what is missing.
          const timer = setTimeout(() => {
            timers.delete(timer);
            if (isHealing(channel)) enqueue(channel);
            else unsettled.delete(channel);
          }, RETRY_MS);
          timers.add(timer);
        })
        .finally(() => {
          running--;
          pump();
          tellSettled();
        });
    }
  };

  const enqueue = (channel: ChannelState): void => {
    waiting.push(channel);
    pump();
  };

  return {
    heal(channel) {
      if (channel.status !== 'live') return;
      channel.status = 'healing';
      unsettled.add(channel);
      enqueue(channel);
    },
    settled: () =>
      new Promise((resolve) => {
        onSettled.push(resolve);
        tellSettled();
      }),
    close() {
      closed = true;
      waiting.length = 0;
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
      unsettled.clear();
      tellSettled();
    },
  };
};
