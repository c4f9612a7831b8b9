// What the application may do with the connections of this node: list, close, subscribe, unsubscribe, explain.
import { closeCodes } from '../../protocol/codes.ts';
import type { ConnectionRow, ExplainAnswer } from '../../protocol/http-connections.ts';
import type { Failure } from '../failure.ts';
import { EphemeralSubscription } from '../fanout/ephemeral/ephemeral-channel.ts';
import type { AnySubscription } from '../fanout/hub.ts';
import type { SubscriptionOrder } from './commands/subscribe.ts';
import type { Connection } from './connection.ts';
import type { Directory } from './directory.ts';
import { subscribeByServer, unsubscribeByServer } from './server-subscriptions.ts';
import type { SessionServices } from './services.ts';

/** Exactly one is given. */
export interface Target {
  readonly user?: string | undefined;
  readonly connection?: string | undefined;
  readonly session?: string | undefined;
}

export interface Managing {
  /** Returns how many were closed. */
  disconnect(target: Target, code: number, reason: string): number;
  /** How many subscribe now that did not before; rejects with the first failure when none does. */
  subscribe(target: Target, order: SubscriptionOrder): Promise<number>;
  /** How many had the subscription. */
  unsubscribe(target: Target, channel: string): number;
  /** Every connection, or those of a user, in no order. */
  rows(user: string | undefined): Iterable<ConnectionRow>;
  explain(connection: string): Promise<ExplainAnswer | undefined>;
}

export interface ManagingOptions {
  readonly nodeName: string;
  readonly connections: Directory;
  readonly services: SessionServices;
  /** How long cursors are watched to tell a rate, ms; well within the time other nodes wait for an answer. */
  readonly sampleMs: number;
}

/** Why a subscription ended that the application ended. */
const ENDED = { code: closeCodes.disconnected.code, reason: 'unsubscribed by the application' } as const;
/** The only transport so far. */
const TRANSPORT = 'websocket';

const opened = ({ subscriptions }: Connection): AnySubscription[] =>
  [...subscriptions.values()].filter((entry): entry is AnySubscription => !(entry instanceof Promise));

export const createManaging = ({ nodeName, connections, services, sampleMs }: ManagingOptions): Managing => {
  const { hub, clock } = services;

  const named = ({ user, connection, session }: Target): readonly Connection[] => {
    if (user !== undefined) return connections.ofUser(user);
    const found = connection === undefined ? connections.ofSession(session ?? '') : connections.ofId(connection);
    return found === undefined ? [] : [found];
  };
  /** Those let in: before, nobody has subscriptions, and nobody is known to be anybody. */
  const of = (target: Target): readonly Connection[] => named(target).filter(({ state }) => state === 'connected');

  const rowOf = (connection: Connection): ConnectionRow => ({
    connection: connection.id,
    node: nodeName,
    ...(connection.who.kind === 'user' && { user: connection.who.user }),
    transport: TRANSPORT,
    dialect: connection.dialect.name,
    subscriptions: connection.subscriptions.size,
    since: connection.openedAtMs,
  });

  const offsetsOf = (connection: Connection): number =>
    opened(connection).reduce((sum, subscription) => sum + hub.positionOf(subscription).offset, 0);

  /** Means over a short while: what is not asked for is not counted per message. */
  const ratesOf = async (connection: Connection): Promise<ExplainAnswer['rates']> => {
    const startedMs = clock.monotonicMs();
    const [offsets, commands] = [offsetsOf(connection), connection.commandCount];
    await new Promise((resolve) => setTimeout(resolve, sampleMs));
    const seconds = (clock.monotonicMs() - startedMs) / 1000;
    return {
      messagesPerSecond: Math.max(0, offsetsOf(connection) - offsets) / seconds,
      commandsPerSecond: (connection.commandCount - commands) / seconds,
    };
  };

  const explainSubscription = (subscription: AnySubscription): ExplainAnswer['subscriptions'][number] => {
    if (subscription instanceof EphemeralSubscription)
      return { channel: subscription.channel.name, policy: subscription.policy, gaps: [] };
    const { channel, policy, gaps } = subscription;
    const { epoch, offset } = hub.positionOf(subscription);
    // Of two lives of a numbering there is no distance.
    const isSame = epoch === channel.log.epoch;
    return {
      channel: channel.name,
      policy,
      epoch,
      cursor: offset,
      head: channel.log.head,
      ...(isSame && { lag: Math.max(0, channel.log.head - offset) }),
      gaps: [...(gaps ?? [])].map(([reason, count]) => ({ reason, count })),
    };
  };

  return {
    disconnect(target, code, reason) {
      const found = named(target);
      for (const connection of found) connection.close(code, reason);
      return found.length;
    },
    async subscribe(target, order) {
      const found = of(target);
      const outcomes = await Promise.all(
        found.map((connection) =>
          subscribeByServer(connection, order, 'application', services).then(
            () => undefined,
            (thrown: unknown) => services.toFailure(thrown),
          ),
        ),
      );
      const failures = outcomes.filter((outcome): outcome is Failure => outcome !== undefined);
      const serious = failures.find(({ error }) => error !== 'alreadySubscribed');
      if (serious !== undefined && failures.length === found.length) throw serious;
      return found.length - failures.length;
    },
    unsubscribe(target, channel) {
      return of(target).filter((connection) => unsubscribeByServer(connection, channel, ENDED, services)).length;
    },
    *rows(user) {
      for (const connection of user === undefined ? connections : connections.ofUser(user)) {
        if (connection.state === 'connected') yield rowOf(connection);
      }
    },
    async explain(id) {
      const connection = connections.ofId(id);
      if (connection === undefined) return undefined;
      const rates = await ratesOf(connection);
      const buffered = connection.bufferedBytes();
      return {
        connection: id,
        node: nodeName,
        // Infinity: it lost a frame and is about to be closed.
        bufferedBytes: Number.isFinite(buffered) ? buffered : 0,
        rates,
        subscriptions: opened(connection).map(explainSubscription),
        refusals: [...(connection.refusals ?? [])],
      };
    },
  };
};
