// What was revoked, as this node knows it: asked at every connect and refresh, in memory.
import type { Revocation, RevocationKind } from '../../broker/revocations.ts';
import type { Clock } from '../clock.ts';
import type { Identity } from './tokens/claims.ts';

export interface Revocations {
  /** By its user, when it was issued no later than that was revoked, or by its `jti`. */
  isRevoked(identity: Pick<Identity, 'who' | 'tokenId' | 'issuedAtMs'>): boolean;
  isSessionRevoked(session: string): boolean;
  add(revocations: readonly Revocation[]): void;
  /** Those that hold by now. */
  all(): readonly Revocation[];
  readonly size: number;
}

export const createRevocations = (clock: Pick<Clock, 'nowMs'>): Revocations => {
  const byKind: Readonly<Record<RevocationKind, Map<string, Revocation>>> = {
    user: new Map(),
    session: new Map(),
    token: new Map(),
  };
  const maps = Object.values(byKind);

  const find = (kind: RevocationKind, value: string): Revocation | undefined => {
    const map = byKind[kind];
    if (map.size === 0) return undefined;
    const found = map.get(value);
    if (found === undefined || found.untilMs > clock.nowMs()) return found;
    map.delete(value);
    return undefined;
  };

  const forget = (): void => {
    const nowMs = clock.nowMs();
    for (const map of maps) for (const [value, { untilMs }] of map) if (untilMs <= nowMs) map.delete(value);
  };

  return {
    isRevoked({ who, tokenId, issuedAtMs }) {
      if (tokenId !== undefined && find('token', tokenId) !== undefined) return true;
      const user = find('user', who.user);
      // Whole seconds: one issued within that of the revocation counts as older.
      return user !== undefined && (issuedAtMs === undefined || issuedAtMs <= user.atMs);
    },
    isSessionRevoked: (session) => find('session', session) !== undefined,
    add(revocations) {
      forget();
      for (const revocation of revocations) {
        const { kind, value, atMs, untilMs } = revocation;
        const known = byKind[kind].get(value);
        // Of two the later moment and the later end count.
        const merged =
          known === undefined
            ? revocation
            : { kind, value, atMs: Math.max(atMs, known.atMs), untilMs: Math.max(untilMs, known.untilMs) };
        byKind[kind].set(value, merged);
      }
    },
    all() {
      forget();
      return maps.flatMap((map) => [...map.values()]);
    },
    get size() {
      return maps.reduce((sum, map) => sum + map.size, 0);
    },
  };
};
