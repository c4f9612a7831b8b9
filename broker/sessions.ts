// The contract for keeping sessions: what a client was subscribed to, so that any node can go on where a dead one stopped.
//
// A record lives for a lease that every save renews; nobody has to clean up after a killed node. Each claim raises the
// record's fence, so a save that the former holder sends late changes nothing and is reported to it. Fences follow the
// clock: they do not go back where a server takes over that missed the newest claims, as long as servers' clocks agree.
import type { ReplyOf } from '../protocol/replies.ts';
import type { ChannelPosition } from './publication.ts';

/** The connection that a session belongs to at present. */
export interface SessionHolder {
  readonly node: string;
  readonly connection: string;
}

export interface SessionSubscription {
  readonly channel: string;
  readonly policy: ReplyOf<'subscribed'>['policy'];
  /** With policy `ack`: messages that may be unacknowledged. */
  readonly window: number;
  /** The application made it: it needs no right of the client's. */
  readonly byApplication?: true;
  /** Everything up to here needs no sending again. */
  readonly position: ChannelPosition;
}

export interface SessionRecord {
  /** Unguessable: for anonymous clients it is the credential. */
  readonly session: string;
  /** The user it belongs to; null for anonymous clients. */
  readonly owner: string | null;
  readonly holder: SessionHolder;
  /** 1 for a new session, else what `claim` returned. */
  readonly fence: number;
  readonly subscriptions: readonly SessionSubscription[];
}

/** `stale`: a newer connection has claimed the session; nothing was written. */
export type SaveOutcome = 'saved' | 'stale';

export interface SessionClaim {
  readonly session: string;
  readonly owner: string | null;
  readonly holder: SessionHolder;
}

export interface ClaimedSession {
  /** Who held it until now. */
  readonly previous: SessionHolder;
  /** Higher than that of every claim before. */
  readonly fence: number;
  readonly subscriptions: readonly SessionSubscription[];
}

export interface Sessions {
  /** Writes whole records and renews their leases; outcomes in the order given. Rejects with `BrokerUnavailableError`. */
  save(records: readonly SessionRecord[], leaseMs: number): Promise<readonly SaveOutcome[]>;
  /**
   * Makes the claimant the holder and renews the lease, in one atomic step. Undefined when there is no such session for
   * this owner, whatever the reason; the record of somebody else is not touched. Rejects with `BrokerUnavailableError`.
   */
  claim(claim: SessionClaim, leaseMs: number): Promise<ClaimedSession | undefined>;
  /** Ends sessions, unless a newer connection has claimed them. The fence stays for a lease. Rejects with `BrokerUnavailableError`. */
  remove(sessions: readonly Pick<SessionRecord, 'session' | 'fence'>[], leaseMs: number): Promise<void>;
}

/** Whether a claimant may continue a session: the same user, or anonymous as before. Nobody changes what they are by it. */
export const ownsSession = (owner: string | null, claimant: string | null): boolean => owner === claimant;
