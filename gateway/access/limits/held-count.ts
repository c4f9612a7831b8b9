// A count that is bounded over all nodes, such as the connections of one user: who enters, who leaves, what this node holds.
import type { HoldRequest } from '../../../broker/limits.ts';

export interface HeldCountOptions {
  readonly key: string;
  readonly limit: number;
  /** Sets this node's share and resolves with it. Rejects when the other nodes cannot be asked in time. */
  readonly hold: (request: HoldRequest) => Promise<number>;
  /** Until the share is renewed, the limit is held on this node alone. */
  readonly onAlone: () => void;
}

export interface HeldCount {
  /** Whether there is room for one more. A promise when the share is used up: callers are answered in order. */
  enter(): boolean | Promise<boolean>;
  /** One that entered is gone. */
  leave(): void;
  /** Tells the share anew, so that its lease goes on. */
  renew(): void;
  /** Nothing is used or held here. */
  isIdle(): boolean;
}

/** Large limits are taken in shares of this part of them; small ones are exact to the last. */
const SHARES_PER_LIMIT = 100;
/**
 * Who is refused is told not to come back, so the answer has to be certain: one that moves from node to node arrives
 * before the other node noticed that it left.
 */
const ASK_AGAIN_MS = 250;
const MAX_ASKED = 4;

export const createHeldCount = ({ key, limit, hold, onAlone }: HeldCountOptions): HeldCount => {
  const slice = Math.floor(limit / SHARES_PER_LIMIT);
  let used = 0;
  let share = 0;
  let asking = false;
  /** What is held changed while it was asked for. */
  let isStale = false;
  let asked = 0;
  const waiting: ((hasRoom: boolean) => void)[] = [];

  const serve = (room: number): void => {
    const served = waiting.splice(0, Math.max(0, room));
    used += served.length;
    for (const answer of served) answer(true);
  };
  const refuseAll = (): void => {
    asked = 0;
    for (const answer of waiting.splice(0)) answer(false);
  };

  const handleShare = (granted: number): void => {
    asking = false;
    share = granted;
    serve(share - used);
    if (waiting.length === 0) asked = 0;
    else if (++asked < MAX_ASKED) setTimeout(ask, ASK_AGAIN_MS).unref();
    else refuseAll();
    if (isStale) ask();
  };
  const handleFailure = (): void => {
    asking = false;
    onAlone();
    serve(limit - used);
    share = used;
    refuseAll();
  };

  const ask = (): void => {
    isStale = asking;
    if (asking) return;
    const spare = used === 0 && waiting.length === 0 ? 0 : slice;
    const wanted = Math.min(Math.max(used, limit), used + waiting.length + spare);
    if (wanted === 0 && share === 0) return;
    asking = true;
    hold({ key, used, wanted, limit }).then(handleShare, handleFailure);
  };

  return {
    enter() {
      if (used < share && waiting.length === 0) {
        used++;
        return true;
      }
      return new Promise((resolve) => {
        waiting.push(resolve);
        if (asked === 0) ask();
      });
    },
    leave() {
      used--;
      serve(share - used);
      // A share that others may need is given back at once; a spare slice may stay as long as some of it is in use.
      if (used === 0 || share - used > 2 * slice) ask();
    },
    renew: ask,
    isIdle: () => used === 0 && share === 0 && !asking && waiting.length === 0,
  };
};
