// Subscriptions that the server makes and ends: those a token names, and those the application asks for.
import { BrokerUnavailableError } from '../../broker/broker.ts';
import type { ReplyOf } from '../../protocol/replies.ts';
import { Failure } from '../failure.ts';
import { endSubscription, openSubscription, type SubscriptionOrder, Withdrawn } from './commands/subscribe.ts';
import type { Connection, ServerChannel } from './connection.ts';
import type { SessionServices } from './services.ts';

/** Pause before what the broker kept from being subscribed is tried again, ms. */
const RETRY_MS = 1000;

/** Subscribes without asking the client's rights, and tells the client. Rejects like the command. */
export const subscribeByServer = async (
  connection: Connection,
  order: SubscriptionOrder,
  by: ServerChannel['by'],
  services: SessionServices,
): Promise<ReplyOf<'subscribed'>> => {
  const { channel } = order;
  if (connection.subscriptions.has(channel) || services.sessions.isPending(connection, channel)) {
    throw new Failure('alreadySubscribed', `${channel} is subscribed already`);
  }
  connection.serverChannels ??= new Map();
  connection.serverChannels.set(channel, { by, isTaken: false });
  try {
    const reply = await openSubscription(connection, order, services, 'server');
    connection.send(reply);
    return reply;
  } catch (thrown) {
    if (!connection.subscriptions.has(channel)) connection.serverChannels.delete(channel);
    // The client ended it, or made its own, before it was open: what it wants counts.
    if (thrown instanceof Withdrawn) throw new Failure('alreadySubscribed', 'the client decided about the channel');
    throw thrown;
  }
};

/** Ends a subscription, or one that is to come back with the session, and tells the client. Returns whether there was one. */
export const unsubscribeByServer = (
  connection: Connection,
  channel: string,
  { code, reason }: { readonly code: number; readonly reason: string },
  { hub, sessions }: SessionServices,
): boolean => {
  const wasRestored = sessions.take(connection, channel);
  connection.serverChannels?.delete(channel);
  if (!connection.subscriptions.has(channel) && !wasRestored) return false;
  endSubscription(connection, channel, hub);
  sessions.handleChanged(connection);
  connection.send({ type: 'unsubscribed', channel, code, reason });
  return true;
};

const subscribeOwn = (connection: Connection, channel: string, services: SessionServices): void => {
  if (!connection.isOpen() || connection.identity?.channels.includes(channel) !== true) return;
  subscribeByServer(connection, { channel }, 'token', services).catch((thrown: unknown) => {
    if (thrown instanceof BrokerUnavailableError) {
      setTimeout(() => subscribeOwn(connection, channel, services), RETRY_MS).unref();
      return;
    }
    const { code, message, error } = services.toFailure(thrown);
    // The client may have been quicker, or a session brings it back with its position.
    if (error === 'alreadySubscribed') return;
    connection.send({ type: 'unsubscribed', channel, code: code.code, reason: message });
  });
};

/** The channels that the token names, once the reply to `connect` is on its way. */
export const subscribeOwnChannels = (connection: Connection, services: SessionServices): void => {
  const channels = connection.identity?.channels ?? [];
  if (channels.length === 0) return;
  setImmediate(() => {
    for (const channel of channels) subscribeOwn(connection, channel, services);
  });
};
