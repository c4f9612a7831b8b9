// Ends connections that are behind more than their namespace allows. Off unless a namespace says so: by default slowness never
// costs a connection.
import type { Clock } from '../clock.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { ChannelState, Subscription } from './channel-state.ts';

/** What a namespace allows; undefined: anything. */
export interface KickLimits {
  /** How long a subscription may be behind without coming back to live messages, ms. */
  readonly kickBehind: number | undefined;
  /** How often what a subscription needs may have expired before it was read. */
  readonly kickExpired: number | undefined;
}

export interface KicksOptions {
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly limitsOf: (channel: string) => KickLimits;
}

export interface Kicks {
  /** Looks who has been behind for too long; repeated about once a second, needed only where a namespace limits it. */
  look(channels: Iterable<ChannelState>): void;
  /** The subscription was sent a receipt for publications that expired before it could read them. */
  handleExpired(subscription: Subscription): void;
}

export const createKicks = ({ clock, metrics, limitsOf }: KicksOptions): Kicks => {
  const kick = ({ subscriber }: Subscription, reason: 'behind' | 'expired'): void => {
    if (!subscriber.isOpen()) return;
    metrics.count('weir_connections_kicked_total', { reason });
    subscriber.dismiss();
  };
  return {
    look(channels) {
      const nowMs = clock.monotonicMs();
      for (const { name, behind } of channels) {
        if (behind.size === 0) continue;
        const { kickBehind } = limitsOf(name);
        if (kickBehind === undefined) continue;
        // With policy `ack` being behind is the normal state: the client decides how far.
        const due = [...behind].filter(
          (subscription) => subscription.window === null && nowMs - subscription.behind!.sinceMs >= kickBehind,
        );
        for (const subscription of due) kick(subscription, 'behind');
      }
    },
    handleExpired(subscription) {
      const { kickExpired } = limitsOf(subscription.channel.name);
      subscription.expiries++;
      // Not now: whoever serves it is in the middle of its turn.
      if (subscription.expiries === kickExpired) setImmediate(kick, subscription, 'expired');
    },
  };
};
