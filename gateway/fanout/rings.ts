// How much of their past the channel logs of this node keep: so much per channel, so much in all, and not for long.
import type { Clock } from '../clock.ts';
import type { ChannelState } from './channel-state.ts';

/** How long a ring keeps a publication: well beyond a reconnect, a Redis failover and the pause of a stalled socket, ms. */
const RING_AGE_MS = 30_000;
/** Pause between two looks for what is too old, ms. */
const SWEEP_MS = 5_000;

export interface RingOptions {
  readonly clock: Clock;
  /** Bytes one channel may keep. */
  readonly maxChannelBytes: number;
  /** Bytes all channels together may keep now. */
  readonly maxTotalBytes: () => number;
  /** What is kept grew or shrank by so much, bytes. */
  readonly onCharged?: (bytes: number) => void;
}

export interface Rings {
  /** To be called when the log of a channel grew and its flush is over. */
  settle(channel: ChannelState): void;
  /** The channel is gone, its ring with it. */
  release(channel: ChannelState): void;
  /** Trims all rings together to so much, as far as no flush needs more, bytes. */
  shrink(maxBytes: number): void;
  /** Bytes kept now, as of the newest `settle` of every channel. */
  readonly bytes: number;
  close(): void;
}

export const createRings = ({ clock, maxChannelBytes, maxTotalBytes, onCharged }: RingOptions): Rings => {
  /** Channels that keep something, and how much it was at the last look. */
  const kept = new Map<ChannelState, number>();
  let bytes = 0;
  let sweeper: NodeJS.Timeout | undefined;

  const charge = (more: number): void => {
    bytes += more;
    if (more !== 0) onCharged?.(more);
  };

  const account = (channel: ChannelState): void => {
    const now = channel.log.bytes;
    charge(now - (kept.get(channel) ?? 0));
    if (now === 0) kept.delete(channel);
    else kept.set(channel, now);
  };

  /** While the rings together are within their bound each has its full share, beyond it all have the same smaller one. */
  const shareOf = (totalBytes: number): number =>
    bytes <= totalBytes ? maxChannelBytes : Math.min(maxChannelBytes, Math.floor(totalBytes / kept.size));
  const allowance = (): number => shareOf(maxTotalBytes());

  const sweep = (): void => {
    const oldestMs = clock.nowMs() - RING_AGE_MS;
    for (const channel of kept.keys()) {
      channel.log.expire(channel.neededSeq, oldestMs);
      channel.log.trim(channel.neededSeq, allowance());
      account(channel);
    }
    if (kept.size > 0) return;
    clearInterval(sweeper);
    sweeper = undefined;
  };

  return {
    settle(channel) {
      if (channel.status === 'closed') return;
      channel.log.trim(channel.neededSeq, allowance());
      account(channel);
      if (kept.size > 0) sweeper ??= setInterval(sweep, SWEEP_MS).unref();
    },
    release(channel) {
      charge(-(kept.get(channel) ?? 0));
      kept.delete(channel);
    },
    shrink(totalBytes) {
      const share = shareOf(totalBytes);
      for (const channel of kept.keys()) {
        channel.log.trim(channel.neededSeq, share, 1);
        account(channel);
      }
    },
    get bytes() {
      return bytes;
    },
    close() {
      clearInterval(sweeper);
      kept.clear();
      bytes = 0;
    },
  };
};
