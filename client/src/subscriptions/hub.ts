// Who on this client listens to which channel: one subscription per channel, all on the connection in use.
import { WeirError } from '../errors.ts';
import type { ChannelPush } from '../protocol/wire.ts';
import type { Connection } from '../session/connection.ts';
import { type ChannelLink, createChannelLink, type LinkSetup } from './channel-link.ts';
import type { SubscribeOptions, Subscription } from './subscription.ts';

export interface HubSetup {
  maxIteratorMessages: number;
  retryAfter: LinkSetup['retryAfter'];
  onThrown(error: unknown): void;
  onUnhandledError(error: WeirError): void;
  /** The server subscribed this client to a channel nobody here asked for. */
  onServerSubscription(subscription: Subscription): void;
  /** Every subscription is on the connection given to `move`. */
  onMoved(): void;
}

export interface Hub {
  subscribe(channel: string, options: SubscribeOptions): Subscription;
  unsubscribe(channel: string): void;
  /** The connection in use from now on: every subscription joins it. */
  attach(connection: Connection): void;
  /** Every subscription joins this connection while the present one goes on; `onMoved` tells when all did. */
  move(connection: Connection): void;
  detach(connection: Connection): void;
  handlePush(connection: Connection, push: ChannelPush): void;
}

export const createHub = (setup: HubSetup): Hub => {
  const links = new Map<string, ChannelLink>();
  /** Left by the application without the server's word for it: a restored session would bring them back. */
  const left = new Set<string>();
  let current: Connection | undefined;
  let next: Connection | undefined;

  const checkMoved = (): void => {
    const target = next;
    if (!target) return;
    for (const link of links.values()) {
      // What the server subscribed comes by itself, when it continues the session.
      if (link.source !== target && (link.origin === 'client' || target.isContinued)) return;
    }
    setup.onMoved();
  };

  const leave = (channel: string, connection: Connection): void =>
    connection.request('unsubscribe', { channel }, (outcome) => {
      // Only who holds the session can forget the channel for it.
      if (!connection.isLeft && !(outcome instanceof WeirError && outcome.temporary)) left.delete(channel);
    });

  const add = (channel: string, options: SubscribeOptions, origin: ChannelLink['origin']): ChannelLink => {
    const link = createChannelLink({
      ...setup,
      channel,
      options,
      origin,
      onChanged: checkMoved,
      onLeft: (connections) => {
        left.add(channel);
        for (const connection of connections) if (connection) leave(channel, connection);
      },
      onUnsubscribed: (ended) => {
        if (links.get(channel) === ended) links.delete(channel);
      },
    });
    links.set(channel, link);
    return link;
  };
  const joinAll = (connection: Connection): void => {
    for (const link of [...links.values()]) link.join(connection);
  };

  return {
    subscribe: (channel, options) => {
      const known = links.get(channel);
      if (known) return known.subscription;
      left.delete(channel);
      const link = add(channel, options, 'client');
      const target = next ?? current;
      if (target) link.join(target);
      return link.subscription;
    },
    unsubscribe: (channel) => links.get(channel)?.subscription.unsubscribe(),
    attach: (connection) => {
      current = connection;
      if (next === connection) next = undefined;
      if (!connection.isContinued) left.clear();
      for (const channel of left) leave(channel, connection);
      joinAll(connection);
    },
    move: (connection) => {
      next = connection;
      joinAll(connection);
      checkMoved();
    },
    detach: (connection) => {
      if (current === connection) current = undefined;
      if (next === connection) next = undefined;
      for (const link of [...links.values()]) link.leave(connection);
      // Subscriptions made during a move that failed were never on the present connection.
      if (current) for (const link of links.values()) if (!link.source) link.join(current);
    },
    handlePush: (connection, push) => {
      const link = links.get(push.channel);
      if (link) link.handlePush(connection, push);
      else if (push.type === 'subscribed' && !left.has(push.channel)) {
        const made = add(push.channel, {}, 'server');
        setup.onServerSubscription(made.subscription);
        made.handlePush(connection, push);
      }
    },
  };
};
