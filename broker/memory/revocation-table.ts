// The revocations of a one-process cluster, kept until their end.
import { randomEpoch, type BrokerClock } from '../clock.ts';
import { MAX_REVOCATIONS, type Revocation, RevocationsFullError, type RevocationsRead } from '../revocations.ts';

/** The same as `RevocationStore`, at once. */
export interface RevocationTable {
  add(revocations: readonly Revocation[]): void;
  read(version: string): RevocationsRead;
}

interface Kept {
  readonly seq: number;
  readonly revocation: Revocation;
}

export const createRevocationTable = (clock: BrokerClock): RevocationTable => {
  const life = randomEpoch();
  /** In the order of their newest change. */
  const table = new Map<string, Kept>();
  let seq = 0;

  const forget = (): void => {
    const nowMs = clock.nowMs();
    for (const [key, { revocation }] of table) if (revocation.untilMs <= nowMs) table.delete(key);
  };

  return {
    add(revocations) {
      forget();
      if (table.size + revocations.length > MAX_REVOCATIONS) {
        throw new RevocationsFullError(`expected at most ${MAX_REVOCATIONS} revocations at once`);
      }
      for (const { kind, value, atMs, untilMs } of revocations) {
        const key = `${kind}:${value}`;
        const kept = table.get(key)?.revocation;
        const revocation = {
          kind,
          value,
          atMs: Math.max(atMs, kept?.atMs ?? 0),
          untilMs: Math.max(untilMs, kept?.untilMs ?? 0),
        };
        if (kept?.atMs === revocation.atMs && kept.untilMs === revocation.untilMs) continue;
        table.delete(key);
        seq += 1;
        table.set(key, { seq, revocation });
      }
    },
    read(version) {
      forget();
      const [knownSeq = '0', knownLife] = version.split(' ');
      const known = knownLife === life ? Number(knownSeq) : 0;
      const revocations = [...table.values()].filter((kept) => kept.seq > known).map(({ revocation }) => revocation);
      return { version: `${seq} ${life}`, revocations, isAnew: version !== '' && knownLife !== life };
    },
  };
};
