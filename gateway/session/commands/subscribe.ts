// `subscribe`: a cursor at the channel's head, or where the client says.
import type { CommandOf } from '../../../protocol/commands.ts';
import type { ReplyOf } from '../../../protocol/replies.ts';
import { LimitReached } from '../../access/limits/limit-reached.ts';
import { Failure } from '../../failure.ts';
import type { NamespaceConfig } from '../../config/namespaces.ts';
import { EphemeralSubscription } from '../../fanout/ephemeral/ephemeral-channel.ts';
import type { AnySubscription, Attached } from '../../fanout/hub.ts';
import type { StartOrder } from '../../fanout/starting.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';
import type { CommandHandler } from '../command-handler.ts';

/** The client itself ended what the command began: who gave the command no id does not ask what became of it. */
export class Withdrawn extends Failure {}

/** Messages that may be unacknowledged with policy `ack` when the client names no window. */
const DEFAULT_ACK_WINDOW = 100;

/** What the client may have. Refuses what this node cannot honour, rather than serving something else in silence. */
const orderOf = (command: SubscriptionOrder, namespace: NamespaceConfig): StartOrder => {
  const { channel, since, policy = namespace.policy, window, presence } = command;
  if (presence === true) throw new Failure('notAvailable', 'presence: not available on this node');
  if (!namespace.policies.includes(policy)) {
    const allowed = namespace.policies.join(', ');
    throw new Failure('permissionDenied', `policy: ${channel} allows ${allowed}, got ${policy}`);
  }
  if (window !== undefined && policy !== 'ack')
    throw new Failure('badRequest', `window: expected none with policy ${policy}`);
  return { since, policy, window: window ?? DEFAULT_ACK_WINDOW };
};

type Opened = Attached | EphemeralSubscription;

const subscriptionOf = (opened: Opened): AnySubscription =>
  opened instanceof EphemeralSubscription ? opened : opened.subscription;

const subscribed = (opened: Opened): ReplyOf<'subscribed'> => {
  const { channel, policy } = subscriptionOf(opened);
  const where =
    opened instanceof EphemeralSubscription ? { recovered: true } : { ...opened.position, recovered: opened.recovered };
  return { type: 'subscribed', channel: channel.name, ...where, policy };
};

/** Ends what the connection holds of a channel, open or being opened. */
export const endSubscription = (connection: Connection, channel: string, hub: SessionServices['hub']): void => {
  const entry = connection.subscriptions.get(channel);
  connection.release(channel);
  // One that is still being opened is ended by its own command, which finds itself replaced.
  if (entry instanceof Promise) connection.abandonedOpenings++;
  else if (entry !== undefined) hub.unsubscribe(entry);
};

const awaitOpening = async (
  connection: Connection,
  channel: string,
  opening: Promise<Opened>,
  services: SessionServices,
): Promise<ReplyOf<'subscribed'>> => {
  // The connection may have closed, or the channel been unsubscribed, while it was being opened.
  const isWithdrawn = (): boolean => connection.subscriptions.get(channel) !== opening;
  const withdrawn = (): Withdrawn => {
    connection.abandonedOpenings--;
    return new Withdrawn('notSubscribed', `${channel} was unsubscribed before it was open`);
  };
  let opened: Opened;
  try {
    opened = await opening;
  } catch (thrown) {
    if (isWithdrawn()) throw withdrawn();
    connection.release(channel);
    throw thrown;
  }
  if (isWithdrawn()) {
    services.hub.unsubscribe(subscriptionOf(opened));
    throw withdrawn();
  }
  connection.hold(channel, subscriptionOf(opened));
  services.sessions.handleChanged(connection);
  return subscribed(opened);
};

/** What a subscription is opened with, by a command or from a session. */
export type SubscriptionOrder = Omit<CommandOf<'subscribe'>, 'type' | 'id'>;

/** One that came back with the session, or that the server made, gives way to the client's own, once. */
const givesWay = (connection: Connection, channel: string, { sessions }: SessionServices): boolean =>
  sessions.isRestored(connection, channel) || connection.serverChannels?.get(channel)?.isTaken === false;

const takeOver = ({ serverChannels }: Connection, channel: string): void => {
  const made = serverChannels?.get(channel);
  if (made !== undefined) made.isTaken = true;
};

const endGivenWay = (connection: Connection, channel: string, { sessions, hub }: SessionServices): void => {
  sessions.take(connection, channel);
  endSubscription(connection, channel, hub);
};

/** Throws `Failure` permissionDenied when the client may not have what it asks for. */
const requireRights = (connection: Connection, wanted: SubscriptionOrder, { access }: SessionServices): void => {
  const { channel, since } = wanted;
  const { who, serverChannels } = connection;
  const standing = { subscribed: false, byServer: serverChannels?.get(channel)?.by === 'application' };
  access.require('subscribe', who, channel, standing);
  // A position comes from an earlier subscription; everything else asks for what was there before this client.
  const readsHistory = since === 'earliest' || (since !== undefined && 'last' in since);
  if (readsHistory) access.require('history', who, channel, standing);
};

/**
 * Opens a subscription with all its checks; the application's own are not asked for the client's rights. `ask` may have the
 * application decide too, once the rights allow it; its refusal is that of the subscription. Throws or rejects with `Failure`
 * or `BrokerUnavailableError`.
 */
export const openSubscription = (
  connection: Connection,
  wanted: SubscriptionOrder,
  services: SessionServices,
  by: 'client' | 'server' = 'client',
  ask: () => Promise<void> | undefined = () => undefined,
): ReplyOf<'subscribed'> | Promise<ReplyOf<'subscribed'>> => {
  const { channel } = wanted;
  const { subscriptions } = connection;
  const replaced = subscriptions.has(channel) ? 1 : 0;
  if (replaced === 1 && !givesWay(connection, channel, services))
    throw new Failure('alreadySubscribed', `${channel} is subscribed already`);
  if (subscriptions.size - replaced + connection.abandonedOpenings >= services.settings.maxSubscriptions) {
    const message = `channel: expected at most ${services.settings.maxSubscriptions} subscriptions per connection`;
    throw new LimitReached('subscriptions', message);
  }
  if (replaced === 0) services.limits.requireSubscription(connection.account);
  if (by === 'client') requireRights(connection, wanted, services);
  const namespace = services.namespaceOf(channel);
  const isEphemeral = namespace.class === 'ephemeral';
  if (isEphemeral && wanted.since !== undefined)
    throw new Failure('notAvailable', `since: ${channel} is ephemeral, it has no positions to start from`);
  const order = orderOf(wanted, namespace);
  if (replaced === 1) endGivenWay(connection, channel, services);
  if (by === 'client') takeOver(connection, channel);
  const { hub } = services;
  const open = (): Opened | Promise<Opened> =>
    isEphemeral ? hub.subscribeEphemeral(connection, channel) : hub.subscribe(connection, channel, order);
  const opening = ask()?.then(open) ?? open();
  if (opening instanceof Promise) {
    connection.hold(channel, opening);
    return awaitOpening(connection, channel, opening, services);
  }
  connection.hold(channel, subscriptionOf(opening));
  services.sessions.handleChanged(connection);
  return subscribed(opening);
};

export const handleSubscribe: CommandHandler<'subscribe'> = (connection, command, services) => {
  const { channel } = command;
  const ask = () =>
    services.namespaceOf(channel).hookSubscribe ? services.hooks.subscribe(connection.asker, channel) : undefined;
  const reply = openSubscription(connection, command, services, 'client', ask);
  services.sessions.take(connection, channel);
  return reply;
};
