// Whom connections count for: users and networks, with what each may hold and spend over all nodes.
import type { Limits as ClusterLimits } from '../../../broker/limits.ts';
import type { MetricsRegistry } from '../../observability/registry.ts';
import { type ChannelRates, createChannelRates } from './channel-rates.ts';
import { createHeldCount, type HeldCount } from './held-count.ts';
import { createHoldBatches } from './hold-batches.ts';
import type { Rate } from './rate.ts';
import { createRateLease, type RateLease } from './rate-lease.ts';
import { withTimeout } from './with-timeout.ts';

export interface PrincipalSettings {
  readonly maxUserConnections: number;
  readonly maxIpConnections: number;
  readonly maxUserPublishRate: Rate;
  readonly maxIpPublishRate: Rate;
  /** Lifetime of a share of held connections that is not renewed. */
  readonly limitLeaseMs: number;
  /** Longest wait for the broker before this node decides alone. */
  readonly controlTimeoutMs: number;
}

export type PrincipalKind = 'user' | 'ip';

export interface Principal {
  readonly connections: HeldCount;
  readonly publishes: RateLease;
  readonly channelRates: ChannelRates;
  /** Of all its connections to this node together; counted for users only. Kept, because it is asked for each subscription. */
  subscriptions: number;
}

export interface Principals {
  of(kind: PrincipalKind, name: string): Principal;
  /** Principals in memory. */
  size(): number;
  close(): void;
}

/** Shares are renewed this often within a lease: one renewal may be lost. */
const RENEWALS_PER_LEASE = 3;
/** A renewal of all is spread over this many turns, so that ten thousands of users do not hold the event loop. */
const TURNS_PER_RENEWAL = 20;

export interface PrincipalsOptions {
  readonly settings: PrincipalSettings;
  readonly limits: ClusterLimits;
  readonly metrics: MetricsRegistry;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
}

export const createPrincipals = ({ settings, limits, metrics, nowMs }: PrincipalsOptions): Principals => {
  const { limitLeaseMs: leaseMs, controlTimeoutMs: timeoutMs } = settings;
  const known = new Map<string, Principal>();
  const hold = createHoldBatches(limits, { leaseMs, timeoutMs });
  const bounds = {
    user: { connections: settings.maxUserConnections, publishes: settings.maxUserPublishRate },
    ip: { connections: settings.maxIpConnections, publishes: settings.maxIpPublishRate },
  };

  const create = (kind: PrincipalKind, key: string): Principal => {
    const { connections, publishes } = bounds[kind];
    const onAlone = (what: string) => () => metrics.count('weir_limits_alone_total', { limit: `${kind}_${what}` });
    return {
      connections: createHeldCount({ key, limit: connections, hold, onAlone: onAlone('connections') }),
      publishes: createRateLease({
        rate: publishes,
        spend: (points, budget) => withTimeout(limits.spend(key, points, budget), timeoutMs),
        nowMs,
        onAlone: onAlone('publishes'),
      }),
      channelRates: createChannelRates(),
      subscriptions: 0,
    };
  };

  let round = known.entries();
  /** Renews what is held and forgets who holds and owes nothing: the next part of all, round and round. */
  const look = (): void => {
    const now = nowMs();
    for (let left = Math.ceil(known.size / TURNS_PER_RENEWAL); left > 0; left--) {
      const next = round.next();
      if (next.done === true) {
        round = known.entries();
        return;
      }
      const [key, { connections, publishes, channelRates }] = next.value;
      if (!connections.isIdle()) connections.renew();
      else if (publishes.isIdle() && channelRates.isIdle(now)) known.delete(key);
    }
  };
  const timer = setInterval(look, leaseMs / RENEWALS_PER_LEASE / (TURNS_PER_RENEWAL + 1));
  timer.unref();

  return {
    of(kind, name) {
      const key = `${kind}:${name}`;
      let principal = known.get(key);
      if (principal === undefined) known.set(key, (principal = create(kind, key)));
      return principal;
    },
    size: () => known.size,
    close: () => clearInterval(timer),
  };
};
