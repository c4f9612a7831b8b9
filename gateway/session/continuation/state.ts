// What a node knows of one connection's session, and the record that is kept of it. Pure but for reading cursors.
import type { ChannelPosition } from '../../../broker/broker.ts';
import type { SessionRecord, SessionSubscription } from '../../../broker/sessions.ts';
import type { Who } from '../../access/rights.ts';
import type { AnySubscription } from '../../fanout/hub.ts';
import type { Connection } from '../connection.ts';

/** What of an earlier connection comes back. */
export interface Returning {
  /** Channels the client named while the claim was on its way. */
  readonly named: Set<string>;
  /** To be restored. They stay part of the record until they are subscriptions or the client decides otherwise. */
  readonly pending: Map<string, SessionSubscription>;
  readonly restored: Set<string>;
}

/** Twelve days before the node began: further back than any pause between two saves. */
const NEVER_MS = -(2 ** 30);

export interface SessionState {
  readonly connection: Connection;
  fence: number;
  /** Whether the claim is on its way: the id is not decided yet, so nothing is saved. */
  claiming: boolean;
  /** Null until a session is claimed: most connections begin one, and three empty collections are 600 bytes. */
  returning: Returning | null;
  /** Whether the broker may hold a record. */
  kept: boolean;
  /** `movementOf` of the newest save. */
  savedMovement: number;
  /** Monotonic time of the newest save, ms; whole, since fractions cost an object for each session. */
  savedAtMs: number;
  restoring: NodeJS.Timeout | undefined;
}

export const newState = (connection: Connection): SessionState => ({
  connection,
  fence: 1,
  claiming: false,
  returning: null,
  kept: false,
  savedMovement: -1,
  savedAtMs: NEVER_MS,
  restoring: undefined,
});

export const returningOf = (state: SessionState): Returning =>
  (state.returning ??= { named: new Set(), pending: new Map(), restored: new Set() });

/** Whom a session belongs to. Anonymous clients are told apart by the id alone. */
export const ownerOf = (who: Who): string | null => (who.kind === 'user' ? who.user : null);

type PositionOf = (subscription: AnySubscription) => ChannelPosition;

/** What needs no sending again: with policy `ack` what was acknowledged, else what was handed to the socket. */
const keptPosition = (subscription: AnySubscription, positionOf: PositionOf): ChannelPosition => {
  const position = positionOf(subscription);
  const unacknowledged = subscription.window?.oldestOutstanding;
  return unacknowledged === undefined ? position : { epoch: position.epoch, offset: unacknowledged - 1 };
};

const attachedOf = ({ subscriptions }: Connection): AnySubscription[] =>
  [...subscriptions.values()].filter((entry): entry is AnySubscription => !(entry instanceof Promise));

const keptSubscriptions = ({ connection, returning }: SessionState, positionOf: PositionOf): SessionSubscription[] => {
  const attached = attachedOf(connection);
  const channels = new Set(attached.map(({ channel }) => channel.name));
  return [
    ...attached.map((subscription) => ({
      channel: subscription.channel.name,
      policy: subscription.policy,
      window: subscription.window?.size ?? 0,
      ...(connection.serverChannels?.get(subscription.channel.name)?.by === 'application' && {
        byApplication: true as const,
      }),
      position: keptPosition(subscription, positionOf),
    })),
    ...[...(returning?.pending.values() ?? [])].filter(({ channel }) => !channels.has(channel)),
  ];
};

export const recordOf = (state: SessionState, node: string, positionOf: PositionOf): SessionRecord => ({
  session: state.connection.session,
  owner: ownerOf(state.connection.who),
  holder: { node, connection: state.connection.id },
  fence: state.fence,
  subscriptions: keptSubscriptions(state, positionOf),
});

/** A number that is another one after any cursor moved within its epoch. */
export const movementOf = ({ connection }: SessionState, positionOf: PositionOf): number => {
  let sum = 0;
  for (const subscription of attachedOf(connection)) sum += keptPosition(subscription, positionOf).offset;
  return sum;
};
