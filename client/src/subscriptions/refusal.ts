// What a refused subscribe means for the subscription. Pure.
import {
  ALREADY_SUBSCRIBED,
  CONNECTION_LOST,
  NOT_AVAILABLE,
  UNRECOVERABLE_POSITION,
  type WeirError,
} from '../errors.ts';
import type { Since } from '../protocol/wire.ts';

/**
 * `wait`: for the next connection. `live`: ask without `since` and report the gap. `restart`: unsubscribe and ask again, because an
 * answer we gave up on came through after all and pushes may have been missed. `retry`: later. `end`: it is over.
 */
export type Refusal = 'wait' | 'live' | 'restart' | 'retry' | 'end';

export const judgeRefusal = (
  { code, temporary }: WeirError,
  since: Since | undefined,
  asked: 'first' | 'restarted',
): Refusal => {
  if (code === CONNECTION_LOST) return 'wait';
  const isPosition = typeof since === 'object' && 'epoch' in since;
  if (isPosition && (code === NOT_AVAILABLE || code === UNRECOVERABLE_POSITION)) return 'live';
  if (code === ALREADY_SUBSCRIBED && asked === 'first') return 'restart';
  return temporary ? 'retry' : 'end';
};
