// The body of one HTTP request: kept up to a bound, or read and thrown away, within a deadline.
import type { HttpResponse as EngineResponse } from './engine.ts';

/** What becomes of a body. */
export type BodyOutcome =
  | { readonly kind: 'whole'; readonly body: Buffer }
  /** A body nobody wanted is gone: to its end, or as far as is sensible. */
  | { readonly kind: 'discarded'; readonly rest: 'nothing' | 'more' }
  /** `noRoom`: the node keeps as much for others as it may. */
  | { readonly kind: 'tooLarge' | 'tooSlow' | 'noRoom' };

export interface BodyOptions {
  readonly maxBodyBytes: number;
  /** Time for the body to arrive, ms. */
  readonly requestTimeoutMs: number;
  /** `discard` keeps nothing of it: the answer is known already. */
  readonly purpose: 'keep' | 'discard';
  /** Asked before so much more is kept, bytes; what was kept is given back by whoever reads the outcome. */
  readonly mayKeep: (bytes: number) => boolean;
}

/**
 * How far over the bound a body is still read to its end, unkept: closing while the client writes would reset the
 * connection before it can read the answer.
 */
const DISCARD_FACTOR = 64;

/**
 * Reads the body. Calls `onEnd` at most once, and never after `abort`, which gives back what was kept.
 * The usual body arrives in one piece and costs no timer.
 */
export const readBody = (
  res: EngineResponse,
  { maxBodyBytes, requestTimeoutMs, purpose, mayKeep }: BodyOptions,
  onEnd: (outcome: BodyOutcome) => void,
): { abort(): void } => {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let hasNoRoom = false;
  let ended = false;
  let timer: NodeJS.Timeout | undefined;
  const stop = (): Buffer[] => {
    const kept = chunks;
    ended = true;
    chunks = [];
    clearTimeout(timer);
    return kept;
  };
  const end = (outcome: BodyOutcome): void => {
    stop();
    onEnd(outcome);
  };
  const isUnwanted = (): boolean => purpose === 'discard' || hasNoRoom || bytes > maxBodyBytes;
  const endUnwanted = (rest: 'nothing' | 'more'): void =>
    end(purpose === 'discard' ? { kind: 'discarded', rest } : { kind: hasNoRoom ? 'noRoom' : 'tooLarge' });
  const startTimer = (): void => {
    timer ??= setTimeout(() => (isUnwanted() ? endUnwanted('more') : end({ kind: 'tooSlow' })), requestTimeoutMs);
  };
  res.onData((chunk, isLast) => {
    if (ended) return;
    bytes += chunk.byteLength;
    hasNoRoom ||= !isUnwanted() && !mayKeep(chunk.byteLength);
    if (isUnwanted()) {
      chunks = [];
      if (isLast) endUnwanted('nothing');
      else if (bytes > maxBodyBytes * DISCARD_FACTOR) endUnwanted('more');
      else startTimer();
      return;
    }
    // The engine's memory is only valid during this call.
    chunks.push(Buffer.from(Buffer.from(chunk)));
    if (isLast) {
      const kept = stop();
      onEnd({ kind: 'whole', body: kept.length === 1 ? kept[0]! : Buffer.concat(kept) });
    } else startTimer();
  });
  // The first bytes usually came with the head and `onData` ran or will run in this turn of the loop.
  setImmediate(() => {
    if (!ended) startTimer();
  });
  return { abort: () => void stop() };
};
