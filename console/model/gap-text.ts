// Says in a sentence what a gap receipt means.
import type { Gap } from '../../client/src/index.ts';
import { formatCount } from './format.ts';

const REASONS: Readonly<Record<Gap['reason'], string>> = {
  expired: 'the history no longer holds them',
  conflated: 'newer messages took their place, as the policy says',
  lost: 'they were lost on the way',
  epoch: 'the numbering of the channel restarted',
  dropped: 'this connection was too slow for them',
};

const missing = ({ from, to, count, reason, offset, epoch }: Gap): string => {
  if (typeof from === 'number' && typeof to === 'number') {
    const messages = formatCount(count ?? to - from + 1);
    return from === to ? `Message #${from} will not come` : `Messages #${from} to #${to} (${messages}) will not come`;
  }
  if (reason === 'epoch') {
    const where = offset === undefined || epoch === undefined ? '' : ` before #${offset + 1} of epoch ${epoch}`;
    return `An unknown number of messages may be missing${where}`;
  }
  if (typeof count !== 'number') return 'An unknown number of messages will not come';
  return count === 1 ? 'One message will not come' : `${formatCount(count)} messages will not come`;
};

export const gapText = (gap: Gap): string => `${missing(gap)}: ${REASONS[gap.reason]}.`;
