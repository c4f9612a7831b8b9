// Sessions across connections and nodes: claims one for a client that comes back, restores what it had, ends who held it.
import { BrokerUnavailableError } from '../../../broker/broker.ts';
import type { ControlBus } from '../../../broker/control.ts';
import type { ClaimedSession, Sessions as KeptSessions, SessionSubscription } from '../../../broker/sessions.ts';
import { closeCodes } from '../../../protocol/codes.ts';
import type { ReplyOf } from '../../../protocol/replies.ts';
import type { Failure } from '../../failure.ts';
import { type SubscriptionOrder, Withdrawn } from '../commands/subscribe.ts';
import { NO_POSITION } from '../../fanout/hub.ts';
import type { Connection } from '../connection.ts';
import { createSaving, type SavingOptions } from './saving.ts';
import type { Sessions } from './sessions.ts';
import { newState, ownerOf, returningOf, type SessionState } from './state.ts';
import { createTakeover } from './takeover.ts';

/** The form of our ids (128 bits): nothing else is asked for. */
const SESSION_ID = /^[A-Za-z0-9_-]{22}$/;
/** Longest wait for the broker at `connect`, ms: a new session serves as well, since clients carry their cursors. */
const CLAIM_DEADLINE_MS = 500;
/**
 * What the client has to name its subscriptions itself before they are restored, ms: one with cursors does so within a
 * round trip, and restoring first would read the same history twice for each of thousands that come back together.
 */
const RESTORE_DELAY_MS = 250;
/** Pause before what the broker kept from being restored is tried again, ms. */
const RESTORE_RETRY_MS = 1000;
/** Not one of 3000 to 3499: a client that reconnected would take the session back, and two tabs would fight for ever. */
const TAKEN_OVER = { code: closeCodes.disconnected.code, reason: 'session taken over' } as const;
/** The client ended the connection as one that is not needed any more. */
const NORMAL = 1000;

/** Ephemeral channels have none. */
const knownPosition = ({ position }: SessionSubscription): SessionSubscription['position'] | undefined =>
  position.epoch === NO_POSITION.epoch ? undefined : position;

export interface ContinuationOptions
  extends Pick<SavingOptions, 'hub' | 'clock' | 'metrics' | 'nodeName' | 'leaseMs' | 'onError'> {
  readonly kept: KeptSessions;
  readonly control: ControlBus;
  readonly controlTimeoutMs: number;
  /** Subscribes with all checks of the command. */
  readonly open: (
    connection: Connection,
    order: SubscriptionOrder,
  ) => ReplyOf<'subscribed'> | Promise<ReplyOf<'subscribed'>>;
  readonly toFailure: (thrown: unknown) => Failure;
}

export const createContinuation = (options: ContinuationOptions): Sessions => {
  const { kept, control, metrics, nodeName, leaseMs, onError, open, toFailure } = options;
  const states = new Map<string, SessionState>();

  const end = (connection: string): void => {
    const state = states.get(connection);
    if (state === undefined) return;
    // Before the close, which would save it as the last word on the session.
    forget(state);
    const { departure } = state.connection;
    if (departure !== null) {
      // Its own client is on the move: two connections for a moment, so that nothing is missed in between.
      departure.handedOver = true;
      metrics.count('weir_sessions_handed_over_total');
      return;
    }
    metrics.count('weir_sessions_taken_over_total');
    state.connection.close(TAKEN_OVER.code, TAKEN_OVER.reason);
  };
  const forget = (state: SessionState): void => {
    clearTimeout(state.restoring);
    states.delete(state.connection.id);
  };
  const saving = createSaving({ ...options, sessions: kept, states, onStale: ({ connection }) => end(connection.id) });
  const takeover = createTakeover({ control, nodeName, timeoutMs: options.controlTimeoutMs, close: end, onError });

  const stateOf = (connection: Connection): SessionState => {
    const known = states.get(connection.id);
    if (known !== undefined) return known;
    const state = newState(connection);
    states.set(connection.id, state);
    return state;
  };

  const handleRestored = (state: SessionState, stored: SessionSubscription, reply: ReplyOf<'subscribed'>): void => {
    state.returning?.pending.delete(stored.channel);
    metrics.count('weir_subscriptions_restored_total');
    // Where its messages go on, not the head: what the client has beyond it is a repetition, what it lacks before it a gap.
    state.connection.send({ ...reply, ...knownPosition(stored) });
  };

  const handleRefused = (state: SessionState, { channel }: SessionSubscription, thrown: unknown): void => {
    // The client decided otherwise meanwhile, or is gone.
    if (thrown instanceof Withdrawn || state.returning?.pending.has(channel) !== true) return;
    state.returning.restored.delete(channel);
    if (thrown instanceof BrokerUnavailableError) {
      restoreIn(state, RESTORE_RETRY_MS);
      return;
    }
    state.returning.pending.delete(channel);
    saving.handleChanged(state);
    const { code, message } = toFailure(thrown);
    state.connection.send({ type: 'unsubscribed', channel, code: code.code, reason: message });
  };

  const restoreOne = (state: SessionState, stored: SessionSubscription): void => {
    const { connection } = state;
    try {
      const { channel, policy, window, byApplication } = stored;
      if (byApplication) {
        connection.serverChannels ??= new Map();
        connection.serverChannels.set(channel, { by: 'application', isTaken: false });
      }
      const since = knownPosition(stored);
      const opening = open(connection, { channel, since, policy, ...(policy === 'ack' && { window }) });
      returningOf(state).restored.add(stored.channel);
      if (opening instanceof Promise) {
        void opening.then(
          (reply) => handleRestored(state, stored, reply),
          (thrown: unknown) => handleRefused(state, stored, thrown),
        );
      } else handleRestored(state, stored, opening);
    } catch (thrown) {
      handleRefused(state, stored, thrown);
    }
  };

  const restore = (state: SessionState): void => {
    state.restoring = undefined;
    const { connection, returning } = state;
    for (const stored of [...(returning?.pending.values() ?? [])]) {
      if (!connection.isOpen()) return;
      if (!connection.subscriptions.has(stored.channel)) restoreOne(state, stored);
    }
  };
  const restoreIn = (state: SessionState, delayMs: number): void => {
    if (!states.has(state.connection.id)) return;
    state.restoring ??= setTimeout(() => restore(state), delayMs);
  };

  const claim = async (connection: Connection, session: string): Promise<ClaimedSession | undefined> => {
    const holder = { node: nodeName, connection: connection.id };
    const claimed = await kept.claim({ session, owner: ownerOf(connection.who), holder }, leaseMs);
    // Also when the answer came too late: the client is here now.
    if (claimed !== undefined) takeover.end(claimed.previous);
    return claimed;
  };

  const claimInTime = async (
    connection: Connection,
    session: string,
  ): Promise<ClaimedSession | 'unknown' | 'unavailable'> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'unavailable'>((resolve) => {
      timer = setTimeout(() => resolve('unavailable'), CLAIM_DEADLINE_MS);
    });
    const answer = claim(connection, session).then(
      (claimed) => claimed ?? 'unknown',
      (error: unknown) => {
        if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: 'sessions.claim' });
        return 'unavailable' as const;
      },
    );
    return Promise.race([answer, late]).finally(() => clearTimeout(timer));
  };

  const continueSession = async (connection: Connection, session: string): Promise<void> => {
    const state = stateOf(connection);
    const { named, pending } = returningOf(state);
    state.claiming = true;
    const claimed = await claimInTime(connection, session);
    state.claiming = false;
    const outcome = typeof claimed === 'string' ? claimed : 'continued';
    metrics.count('weir_sessions_claimed_total', { outcome });
    if (!connection.isOpen()) return;
    if (typeof claimed !== 'string') {
      connection.session = session;
      state.fence = claimed.fence;
      state.kept = true;
      for (const stored of claimed.subscriptions) {
        if (!named.has(stored.channel)) pending.set(stored.channel, stored);
      }
      if (pending.size > 0) restoreIn(state, RESTORE_DELAY_MS);
    }
    named.clear();
    saving.handleChanged(state);
  };

  return {
    continue(connection, session) {
      if (SESSION_ID.test(session)) return continueSession(connection, session);
      metrics.count('weir_sessions_claimed_total', { outcome: 'unknown' });
      return undefined;
    },
    handleChanged(connection) {
      // What was handed over is its successor's.
      if (connection.isOpen() && connection.departure?.handedOver !== true) saving.handleChanged(stateOf(connection));
    },
    isRestored: (connection, channel) => states.get(connection.id)?.returning?.restored.has(channel) ?? false,
    isPending: (connection, channel) => states.get(connection.id)?.returning?.pending.has(channel) ?? false,
    take(connection, channel) {
      const state = states.get(connection.id);
      if (state === undefined) return false;
      if (state.claiming) returningOf(state).named.add(channel);
      const wasRestored = state.returning?.restored.delete(channel) ?? false;
      return (state.returning?.pending.delete(channel) ?? false) || wasRestored;
    },
    handleClosing(connection, code) {
      const state = states.get(connection.id);
      if (state === undefined) return;
      forget(state);
      if (!state.claiming) saving.handleClosing(state, code === NORMAL ? 'end' : 'keep');
    },
    async close() {
      takeover.close();
      for (const state of states.values()) clearTimeout(state.restoring);
      await saving.close();
    },
  };
};
