// The contract for revocations: what may not connect any more, known to every node, and to those that join later.
//
// A revocation holds until its end and is kept that long. What a node knows can be compared with what is kept at the
// price of one small read, so nodes look often; a backplane that lost what it kept gets it back from them.

/** A user's tokens issued up to a moment, a session, or one token by its `jti`. */
export type RevocationKind = 'user' | 'session' | 'token';

export interface Revocation {
  readonly kind: RevocationKind;
  /** The user, session id or `jti`. */
  readonly value: string;
  /** When it was revoked, Unix ms. */
  readonly atMs: number;
  /** Until when it holds, Unix ms. */
  readonly untilMs: number;
}

export interface RevocationsRead {
  /** What to ask with next time. */
  readonly version: string;
  /** Those added since the version asked with, or all when that was of another life of the store. */
  readonly revocations: readonly Revocation[];
  /** The store is another one than that of the version asked with: it may lack what was added before. */
  readonly isAnew: boolean;
}

/** The store holds as many as it may. */
export class RevocationsFullError extends Error {
  override readonly name = 'RevocationsFullError';
}

/** Revocations kept at once. */
export const MAX_REVOCATIONS = 100_000;

export interface RevocationStore {
  /**
   * Keeps revocations until their end; of two for the same the later moment and the later end count. Rejects with
   * `RevocationsFullError` when the store is full, else with `BrokerUnavailableError`.
   */
  add(revocations: readonly Revocation[]): Promise<void>;
  /** `version` is empty the first time. Rejects with `BrokerUnavailableError`. */
  read(version: string): Promise<RevocationsRead>;
}
