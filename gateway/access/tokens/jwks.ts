// The issuer's published keys: fetched when needed, kept while the issuer cannot be reached, asked for at a bounded rate.
//
// A token may name a key published a moment ago, so an unknown one waits for the next fetch instead of being refused; that
// fetch is one for all who wait, and no two begin within `minIntervalMs`, whatever key ids clients make up.
import type { Clock } from '../../clock.ts';
import type { VerificationKey } from './verification-key.ts';
import { readJwks } from './verification-key.ts';
import type { Algorithm } from './token-text.ts';

export interface JwksOptions {
  /** Text of the set; rejects within bounded time. `signal` ends it. */
  readonly fetchText: (signal: AbortSignal) => Promise<string>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Age from which a set is asked for anew, ms. */
  readonly maxAgeMs: number;
  /** Between the beginnings of two fetches, ms. */
  readonly minIntervalMs: number;
  readonly onFetched: (outcome: 'fetched' | 'failed', error?: Error) => void;
  /** The set is another one than before. */
  readonly onChanged: () => void;
}

/** `unavailable`: the issuer cannot be asked, so nobody knows whether the token is good. */
export type KeyLookup = readonly VerificationKey[] | 'unavailable';

export interface Jwks {
  /** Keys that may have signed: those with the id, or without one all of the algorithm. */
  keysFor(algorithm: Algorithm, keyId: string | undefined): KeyLookup | Promise<KeyLookup>;
  /** Asks for the set in the background when it is older than it may be. */
  renewIfOld(): void;
  readonly size: number;
  /** Asks for the set, ahead of the first token. */
  start(): void;
  close(): void;
}

/** Tokens with unknown keys that wait for a fetch; more are answered `unavailable`. */
const MAX_WAITING = 1000;
/** Requests in the time a set may get old, while the issuer does not answer and no token asks. */
const RETRIES_PER_AGE = 10;

export const createJwks = (options: JwksOptions): Jwks => {
  const { fetchText, clock, maxAgeMs, minIntervalMs, onFetched, onChanged } = options;
  const ending = new AbortController();
  let text: string | undefined;
  let keys: readonly VerificationKey[] = [];
  let fetchedAtMs = -Infinity;
  let startedAtMs = -Infinity;
  let running: Promise<boolean> | undefined;
  let scheduled: Promise<boolean> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let renewal: NodeJS.Timeout | undefined;
  let endWait = (): void => undefined;
  let waiting = 0;

  /** Resolves with whether the keys are those of now. */
  const fetchNow = async (): Promise<boolean> => {
    startedAtMs = clock.monotonicMs();
    try {
      const received = await fetchText(ending.signal);
      const usable = readJwks(received);
      if (usable === undefined) throw new Error('the answer is no JWK Set with a usable key');
      fetchedAtMs = clock.monotonicMs();
      onFetched('fetched');
      if (received !== text) {
        text = received;
        keys = usable;
        onChanged();
      }
      return true;
    } catch (error) {
      if (!ending.signal.aborted) onFetched('failed', error as Error);
      return false;
    }
  };

  /** Also without tokens: the first one after a quiet time is not to meet a key that was withdrawn long ago. */
  const renewLater = (isCurrent: boolean): void => {
    clearTimeout(renewal);
    if (ending.signal.aborted) return;
    const pauseMs = isCurrent ? maxAgeMs : Math.max(minIntervalMs, maxAgeMs / RETRIES_PER_AGE);
    renewal = setTimeout(() => {
      if (running === undefined && scheduled === undefined) void begin();
    }, pauseMs).unref();
  };

  const begin = (): Promise<boolean> => {
    running = fetchNow().finally(() => (running = undefined));
    void running.then(renewLater);
    return running;
  };

  /** One fetch that begins from now on, shared by all who ask before it begins. */
  const schedule = (): Promise<boolean> => {
    scheduled ??= new Promise<void>((resolve) => {
      endWait = resolve;
      timer = setTimeout(resolve, Math.max(0, startedAtMs + minIntervalMs - clock.monotonicMs()));
    })
      // One under way may end later than the pause.
      .then(() => running)
      .then(() => {
        scheduled = undefined;
        return ending.signal.aborted ? false : begin();
      });
    return scheduled;
  };

  const find = (algorithm: Algorithm, keyId: string | undefined): readonly VerificationKey[] =>
    keys.filter(({ id, algorithms }) => algorithms.includes(algorithm) && (keyId === undefined || id === keyId));

  const search = async (algorithm: Algorithm, keyId: string | undefined): Promise<KeyLookup> => {
    // What is under way may bring it, and what begins after it certainly.
    if (running !== undefined) {
      await running;
      const found = find(algorithm, keyId);
      if (found.length > 0) return found;
    }
    const isCurrent = await schedule();
    const found = find(algorithm, keyId);
    return found.length === 0 && !isCurrent ? 'unavailable' : found;
  };

  const renewIfOld = (): void => {
    const nowMs = clock.monotonicMs();
    if (nowMs - fetchedAtMs < maxAgeMs || nowMs - startedAtMs < minIntervalMs) return;
    if (running === undefined && scheduled === undefined) void begin();
  };

  return {
    renewIfOld,
    keysFor(algorithm, keyId) {
      const found = find(algorithm, keyId);
      if (found.length > 0) {
        renewIfOld();
        return found;
      }
      if (waiting >= MAX_WAITING) return 'unavailable';
      waiting += 1;
      return search(algorithm, keyId).finally(() => (waiting -= 1));
    },
    get size() {
      return keys.length;
    },
    start() {
      if (running === undefined) void begin();
    },
    close() {
      ending.abort();
      clearTimeout(timer);
      clearTimeout(renewal);
      endWait();
    },
  };
};
