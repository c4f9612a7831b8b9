// Keeps the token of one open connection fresh: ahead of its expiry, and when the server calls it expired.
import type { Cancel, Clock } from '../clock.ts';
import { connectionLost, tokenFailed, WeirError } from '../errors.ts';
import type { Refreshed } from '../protocol/wire.ts';

/** A token, or nothing to connect anonymously. A thrown WeirError that is not temporary ends reconnecting. */
export type GetToken = () => string | null | undefined | Promise<string | null | undefined>;

export const fetchToken = async (getToken: GetToken | undefined): Promise<string | undefined> => {
  try {
    return (await getToken?.()) ?? undefined;
  } catch (error) {
    throw error instanceof WeirError ? error : tokenFailed(error);
  }
};

export interface TokenKeeper {
  schedule(expiresInMs: number | undefined): void;
  /** `done()` when the server took a new token, else with the error. Calls meanwhile share one refresh. */
  refresh(done: (error?: WeirError) => void): void;
  /** Ends what is under way with `connection_lost`. */
  stop(): void;
}

export interface TokenSetup {
  clock: Clock;
  getToken: GetToken | undefined;
  sendRefresh(token: string, onReply: (outcome: Refreshed | WeirError) => void): void;
  onError(error: WeirError): void;
}

/** Refreshed this long before expiry, or a tenth of the lifetime before when that is shorter, ms. */
const REFRESH_AHEAD_MS = 30_000;
const RETRY_MS = 5000;

export const createTokenKeeper = ({ clock, getToken, sendRefresh, onError }: TokenSetup): TokenKeeper => {
  let cancel: Cancel | undefined;
  let state: 'idle' | 'refreshing' | 'stopped' = 'idle';
  let waiting: ((error?: WeirError) => void)[] = [];

  const refreshAfter = (delayMs: number): void => {
    cancel?.();
    cancel = clock.after(delayMs, () => keeper.refresh(() => undefined));
  };
  const settle = (error?: WeirError): void => {
    const done = waiting;
    waiting = [];
    for (const one of done) one(error);
  };
  const finish = (error?: WeirError): void => {
    if (state === 'stopped') return;
    state = 'idle';
    if (error) onError(error);
    if (error?.temporary) refreshAfter(error.retryAfterMs ?? RETRY_MS);
    settle(error);
  };
  const handleToken = (token: string | undefined): void => {
    if (state === 'stopped') return;
    if (token === undefined) {
      finish(tokenFailed('no token'));
      return;
    }
    sendRefresh(token, (outcome) => {
      if (outcome instanceof WeirError) finish(outcome);
      else {
        keeper.schedule(outcome.expiresInMs);
        finish();
      }
    });
  };

  const keeper: TokenKeeper = {
    schedule: (expiresInMs) => {
      if (expiresInMs === undefined || !getToken || state === 'stopped') return;
      refreshAfter(expiresInMs - Math.min(REFRESH_AHEAD_MS, expiresInMs / 10));
    },
    refresh: (done) => {
      waiting.push(done);
      if (state !== 'idle') return;
      state = 'refreshing';
      fetchToken(getToken).then(handleToken, (error: unknown) => finish(error as WeirError));
    },
    stop: () => {
      state = 'stopped';
      cancel?.();
      settle(connectionLost());
    },
  };
  return keeper;
};
