// Keeps what this node knows of revocations in step with the cluster, and ends the connections they are about.
import type { BrokerEvents } from '../../broker/broker.ts';
import type { ControlBus, Json } from '../../broker/control.ts';
import type { Revocation, RevocationStore } from '../../broker/revocations.ts';
import { closeCodes } from '../../protocol/codes.ts';
import type { Revocations } from '../access/revocations.ts';
import type { Connection } from './connection.ts';
import type { Directory } from './directory.ts';

/** Told to every node at once; who does not hear it finds the revocation with its next look. */
const KIND = 'revocation';

export interface RevokingOptions {
  readonly store: RevocationStore;
  readonly control: ControlBus;
  readonly controlTimeoutMs: number;
  readonly known: Revocations;
  readonly connections: Directory;
  readonly onError: BrokerEvents['onError'];
}

export interface RevokingResult {
  readonly disconnected: number;
  /** Until when it holds, Unix ms. */
  readonly untilMs: number;
  /** Nodes that did not answer in time; they follow by themselves. */
  readonly missing: readonly string[];
}

export interface Revoking {
  /** Rejects with `RevocationsFullError` or `BrokerUnavailableError`; then nothing is revoked. */
  revoke(revocation: Revocation): Promise<RevokingResult>;
  /** Reads what is new. Repeated about once a second, and whenever the broker is back. Rejects with `BrokerUnavailableError`. */
  synchronise(): Promise<void>;
  /** The same, where nobody waits for it. */
  look(): void;
}

interface Ended {
  readonly count: number;
  /** The latest end of a token among those that were closed. */
  readonly untilMs: number;
}

export const createRevoking = (options: RevokingOptions): Revoking => {
  const { store, control, controlTimeoutMs, known, connections, onError } = options;
  let version = '';
  let running: Promise<void> | undefined;

  const isRevoked = ({ identity, session }: Connection): boolean =>
    (identity !== null && known.isRevoked(identity)) || known.isSessionRevoked(session);

  /** Closes at once: a list of tens of thousands is walked in some milliseconds, and there is nothing to wait for. */
  const end = (among: Iterable<Connection>): Ended => {
    let count = 0;
    let untilMs = 0;
    for (const connection of [...among]) {
      if (!isRevoked(connection)) continue;
      const { expiresAtMs } = connection;
      if (expiresAtMs !== Infinity) untilMs = Math.max(untilMs, expiresAtMs);
      count += 1;
      connection.close(closeCodes.permissionDenied.code, closeCodes.permissionDenied.name);
    }
    return { count, untilMs };
  };

  const apply = (revocation: Revocation): Ended => {
    known.add([revocation]);
    return end(revocation.kind === 'user' ? connections.ofUser(revocation.value) : connections);
  };

  control.handle(KIND, (payload) => ({ ...apply(payload as unknown as Revocation) }));

  const read = async (): Promise<void> => {
    const { version: next, revocations, isAnew } = await store.read(version);
    if (isAnew) {
      // What another server, or an emptied one, does not know any more is given back before anything is read on.
      const own = known.all();
      if (own.length > 0) await store.add(own);
    }
    version = next;
    if (revocations.length === 0) return;
    known.add(revocations);
    end(connections);
  };

  const synchronise = (): Promise<void> => {
    running ??= read().finally(() => (running = undefined));
    return running;
  };

  return {
    async revoke(revocation) {
      await store.add([revocation]);
      const payload = { ...revocation } satisfies Json;
      const { answers, missing } = await control.request(KIND, payload, controlTimeoutMs);
      const ended = answers.map(({ answer }) => answer as unknown as Ended);
      const untilMs = Math.max(revocation.untilMs, ...ended.map(({ untilMs: end }) => end));
      // A token that lives longer than the caller thought.
      if (untilMs > revocation.untilMs) {
        const longer = { ...revocation, untilMs };
        known.add([longer]);
        await store.add([longer]);
      }
      return { disconnected: ended.reduce((sum, { count }) => sum + count, 0), untilMs, missing };
    },
    synchronise,
    look() {
      synchronise().catch((error: unknown) => onError(error as Error, { stage: 'revocations' }));
    },
  };
};
