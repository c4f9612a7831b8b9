// The one door to the limits: what a connection may do now, on its own account and on those of its user and its network.
//
// A refusal is `LimitReached`: code 111 with a delay for rates, 106 for counts. What a connection may do on its own is
// decided at once; what holds over all nodes is spent from shares taken in advance, and waits only when there is none.
import type { Limits as ClusterLimits } from '../../../broker/limits.ts';
import { closeCodes } from '../../../protocol/codes.ts';
import type { MetricsRegistry } from '../../observability/registry.ts';
import type { Account } from './account.ts';
import { createChannelRates } from './channel-rates.ts';
import { networkOf } from './client-network.ts';
import { type ConnectionLimits, type ConnectionRates, createConnectionLimits } from './connection-limits.ts';
import { LimitReached, type LimitReason } from './limit-reached.ts';
import { createPrincipals, type Principal, type PrincipalSettings } from './principals.ts';
import type { Rate } from './rate.ts';

export interface LimitSettings extends PrincipalSettings, ConnectionRates {
  readonly maxUserSubscriptions: number;
}

/** How a connection ends that may not be, or goes on beyond what it was told. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
}

export interface Limits {
  /** Bytes and commands of one connection; a few operations on numbers each. */
  readonly ofConnection: Pick<ConnectionLimits, 'takeFrame' | 'takeCommand'>;
  /**
   * A publish of a client. Throws or rejects with `LimitReached`. Resolves later only when a share over all nodes has to be
   * asked for; the publishes of a connection go on in the order of their calls.
   */
  takePublish(account: Account, channel: string, rate: Rate | undefined): void | Promise<void>;
  /** Counts a refusal that is told to the client; says how the connection is to end when it goes on all the same. */
  handleRefusal(account: Account, reason: LimitReason): Ending | undefined;
  /** Counts a connection for its address; an ending when there are too many. */
  enterNetwork(account: Account, address: string): Ending | undefined | Promise<Ending | undefined>;
  /** As `enterNetwork`, for a user: the subscriptions of the account count for it from now on. */
  enterUser(account: Account, user: string): Ending | undefined | Promise<Ending | undefined>;
  /** One more subscription of the account's user. Throws `LimitReached`. */
  requireSubscription(account: Account): void;
  /** The connection is gone; idempotent. */
  leave(account: Account): void;
  close(): void;
}

export interface LimitsOptions {
  readonly settings: LimitSettings;
  readonly cluster: ClusterLimits;
  readonly metrics: MetricsRegistry;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
}

const tooMany = (reason: string): Ending => ({ code: closeCodes.tooManyConnections.code, reason });

export const createLimits = ({ settings, cluster, metrics, nowMs }: LimitsOptions): Limits => {
  const principals = createPrincipals({ settings, limits: cluster, metrics, nowMs });
  const ofConnection = createConnectionLimits(settings, metrics);

  const require = (delayMs: number, reason: LimitReason, whose: string): void => {
    if (delayMs > 0) throw new LimitReached(reason, `too many publishes by this ${whose}`, delayMs);
  };

  /** Takes from one principal; a promise when its share has to be asked for. */
  const takeFrom = (principal: Principal | undefined, reason: LimitReason, whose: string): void | Promise<void> => {
    if (principal === undefined) return;
    const delay = principal.publishes.take();
    if (typeof delay !== 'number') return delay.then((delayMs) => require(delayMs, reason, whose));
    require(delay, reason, whose);
  };

  const takeShared = (account: Account): void | Promise<void> => {
    const user = takeFrom(account.user, 'user_publishes', 'user');
    const network = () => takeFrom(account.network, 'ip_publishes', 'address');
    return user === undefined ? network() : user.then(network);
  };

  const enter = (
    account: Account,
    principal: Principal,
    onEntered: () => void,
    refusal: Ending & { readonly limited: LimitReason },
  ): Ending | undefined | Promise<Ending | undefined> => {
    const handle = (hasRoom: boolean): Ending | undefined => {
      if (!hasRoom) {
        metrics.count('weir_limited_total', { reason: refusal.limited });
        return refusal;
      }
      if (account.isClosed) principal.connections.leave();
      else onEntered();
      return undefined;
    };
    const entered = principal.connections.enter();
    return typeof entered === 'boolean' ? handle(entered) : entered.then(handle);
  };

  return {
    ofConnection,
    takePublish(account, channel, rate) {
      const now = nowMs();
      require(ofConnection.takePublish(account, now), 'publishes', 'connection');
      if (rate !== undefined) {
        const rates = account.user?.channelRates ?? (account.channelRates ??= createChannelRates());
        require(rates.take(channel, rate, now), 'channel_publishes', 'client on this channel');
      }
      return takeShared(account);
    },
    handleRefusal(account, reason) {
      if (ofConnection.refuse(account, nowMs(), reason) === 'bearable') return undefined;
      const { code, name } =
        reason === 'subscriptions' || reason === 'user_subscriptions'
          ? closeCodes.tooManySubscriptions
          : closeCodes.rateLimited;
      return { code, reason: name };
    },
    enterNetwork(account, address) {
      const network = networkOf(address);
      if (network === undefined) return undefined;
      const principal = principals.of('ip', network);
      const refusal = { ...tooMany('too many connections of this address'), limited: 'ip_connections' } as const;
      return enter(account, principal, () => (account.network = principal), refusal);
    },
    enterUser(account, user) {
      const principal = principals.of('user', user);
      const refusal = { ...tooMany('too many connections of this user'), limited: 'user_connections' } as const;
      return enter(account, principal, () => account.countFor(principal), refusal);
    },
    requireSubscription({ user }) {
      if (user === undefined || user.subscriptions < settings.maxUserSubscriptions) return;
      const message = `channel: expected at most ${settings.maxUserSubscriptions} subscriptions per user`;
      throw new LimitReached('user_subscriptions', message);
    },
    leave: (account) => account.close(),
    close: () => principals.close(),
  };
};
