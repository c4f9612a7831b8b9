// What a closed connection means for the next one: whether to try again, and any delay the server gave.
import { mayReconnect } from '../../../protocol/codes.ts';
import { TOKEN_EXPIRED } from '../errors.ts';
import type { TransportClose } from '../transport/transport.ts';

/** How to try again, or nothing when that is forbidden. */
export type Retry = { serverDelayMs: number | undefined } | undefined;

const retryAfterMs = (reason: string): number | undefined => {
  const digits = /retryAfterMs=(\d+)/.exec(reason)?.[1];
  return digits === undefined ? undefined : Number(digits);
};

/** The close code decides from the number alone; a refused `connect` decides by its error (an expired token is fetched anew). */
export const judgeClose = ({ code, reason, error }: TransportClose): Retry => {
  if (error) {
    return error.temporary || error.code === TOKEN_EXPIRED ? { serverDelayMs: error.retryAfterMs } : undefined;
  }
  return mayReconnect(code) ? { serverDelayMs: retryAfterMs(reason) } : undefined;
};
