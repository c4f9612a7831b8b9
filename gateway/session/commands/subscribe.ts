// `subscribe`: a live cursor at the channel's head.
import type { CommandOf } from '../../../protocol/commands.ts';
import type { ReplyOf } from '../../../protocol/replies.ts';
import { Failure } from '../../failure.ts';
import type { Attached } from '../../fanout/hub.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';
import type { CommandHandler } from '../command-handler.ts';

/** The client itself ended what the command began: who gave the command no id does not ask what became of it. */
export class Withdrawn extends Failure {}

/** Refuses what this node cannot honour, rather than serving something else in silence. */
const refuseUnavailable = (command: CommandOf<'subscribe'>): void => {
  const { since, policy, window, presence } = command;
  const field =
    since !== undefined ? 'since' : window !== undefined ? 'window' : presence === true ? 'presence' : undefined;
  if (field !== undefined) throw new Failure('notAvailable', `${field}: not available on this node`);
  if (policy !== undefined && policy !== 'all')
    throw new Failure('notAvailable', `policy: expected all, got ${policy}`);
};

const subscribed = ({ subscription, position }: Attached): ReplyOf<'subscribed'> => ({
  type: 'subscribed',
  channel: subscription.channel.name,
  ...position,
  recovered: true,
  policy: 'all',
});

const awaitOpening = async (
  connection: Connection,
  channel: string,
  opening: Promise<Attached>,
  services: SessionServices,
): Promise<ReplyOf<'subscribed'>> => {
  // The connection may have closed, or the channel been unsubscribed, while it was being opened.
  const isWithdrawn = (): boolean => connection.subscriptions.get(channel) !== opening;
  const withdrawn = (): Withdrawn => {
    connection.abandonedOpenings--;
    return new Withdrawn('notSubscribed', `${channel} was unsubscribed before it was open`);
  };
  let attached: Attached;
  try {
    attached = await opening;
  } catch (thrown) {
    if (isWithdrawn()) throw withdrawn();
    connection.subscriptions.delete(channel);
    throw thrown;
  }
  if (isWithdrawn()) {
    services.hub.unsubscribe(attached.subscription);
    throw withdrawn();
  }
  connection.subscriptions.set(channel, attached.subscription);
  return subscribed(attached);
};

export const handleSubscribe: CommandHandler<'subscribe'> = (connection, command, services) => {
  const { channel } = command;
  const { subscriptions, who } = connection;
  if (subscriptions.has(channel)) throw new Failure('alreadySubscribed', `${channel} is subscribed already`);
  if (subscriptions.size + connection.abandonedOpenings >= services.settings.maxSubscriptions) {
    const message = `channel: expected at most ${services.settings.maxSubscriptions} subscriptions per connection`;
    throw new Failure('limitExceeded', message);
  }
  services.access.require('subscribe', who, channel, { subscribed: false });
  services.reading.requireNumbered(channel);
  refuseUnavailable(command);
  const opening = services.hub.subscribe(connection, channel);
  if (opening instanceof Promise) {
    subscriptions.set(channel, opening);
    return awaitOpening(connection, channel, opening, services);
  }
  subscriptions.set(channel, opening.subscription);
  return subscribed(opening);
};
