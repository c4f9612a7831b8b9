// Where a subscription that names a position starts, and whether a gap will precede its messages.
import type { ChannelPosition } from '../../broker/broker.ts';
import type { HistoryPage, HistoryStart } from '../../broker/history.ts';
import type { Since } from '../../protocol/position.ts';
import { isGap } from '../dialects/dialect.ts';
import { Failure } from '../failure.ts';
import { type CatchUp, PAGE_MESSAGES } from './catch-up.ts';
import type { Subscription } from './channel-state.ts';
import { applyPolicy, type DeliveryPolicy } from './policy.ts';
import { accountFor } from './receipts.ts';

/** What a subscription asks for. */
export interface StartOrder {
  /** Absent: from the head on. */
  readonly since?: Since | undefined;
  readonly policy: DeliveryPolicy;
  /** With policy `ack`: messages that may be unacknowledged. */
  readonly window: number;
}

export const LIVE: StartOrder = { policy: 'all', window: 0 };

interface Started {
  /** False when a gap precedes the messages. */
  readonly recovered: boolean;
}

interface StartedFromHistory extends Started {
  /** Head of the channel: when its history was read, or what its log has reached since. */
  readonly position: ChannelPosition;
}

const startOf = (since: Since): HistoryStart => {
  if (since === 'earliest') return { kind: 'earliest' };
  return 'last' in since ? { kind: 'last', count: since.last } : { kind: 'after', offset: since.offset };
};

/** Where a cursor stands whose first message is the first of the page. */
const positionBefore = ({ position, publications }: HistoryPage): ChannelPosition => {
  const first = publications[0];
  return first === undefined ? position : { epoch: position.epoch, offset: first.offset - 1 };
};

/**
 * Puts a new subscription behind, where `since` says. Rejects with `Failure` unrecoverablePosition when the channel has
 * not reached the position, with `BrokerUnavailableError` when only the history could tell.
 */
export const startCatchUp = (
  catchUp: CatchUp,
  subscription: Subscription,
  since: Since,
): Started | Promise<StartedFromHistory> => {
  const { channel, policy } = subscription;
  const { log } = channel;
  const isPosition = typeof since === 'object' && 'epoch' in since;
  const cursor = isPosition ? log.seqAfter(since) : undefined;
  if (isPosition && cursor !== undefined) {
    catchUp.begin(subscription, since, null);
    return { recovered: !applyPolicy(policy, log.read(cursor)).some(isGap) };
  }
  // Listed from now on, so that the channel stays open; its first turn comes when the page is there.
  catchUp.reserve(subscription);
  const { pages } = catchUp;
  const isBeyond = ({ position }: HistoryPage): boolean =>
    isPosition && since.epoch === position.epoch && since.offset > position.offset;
  const read = async (): Promise<HistoryPage> => {
    const page = await pages.read(channel.name, startOf(since), PAGE_MESSAGES, isPosition ? since.epoch : '');
    // A shared page may be from before the publication that this client has already seen, or from before the numbering
    // began again.
    return isBeyond(page) || page.position.epoch !== log.epoch
      ? pages.readFresh(channel.name, startOf(since), PAGE_MESSAGES)
      : page;
  };
  return read().then((page) => {
    const start = isPosition ? since : positionBefore(page);
    if (isBeyond(page)) {
      throw new Failure('unrecoverablePosition', `since: the channel's head is ${page.position.offset}`);
    }
    const { entries } = accountFor(start, page, Infinity);
    const recovered = !applyPolicy(policy, entries).some(isGap);
    // A page in another order than the cursor's, or of another epoch, is not one that follows it.
    if (subscription.behind !== null) catchUp.begin(subscription, start, policy === 'latest' ? null : page);
    const { epoch, head } = log;
    const isOvertaken = epoch === page.position.epoch && head > page.position.offset;
    return { recovered, position: isOvertaken ? { epoch, offset: head } : page.position };
  });
};
