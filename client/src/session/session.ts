// Keeps the client connected: attempts, retries, and the move to another node that opens the new connection first.
import type { Cancel } from '../clock.ts';
import { closedByServer, disconnected, type WeirError } from '../errors.ts';
import type { Connected, Push, ReconnectPush } from '../protocol/wire.ts';
import type { ReconnectStrategy } from '../reconnect/strategy.ts';
import { judgeClose } from '../reconnect/verdict.ts';
import type { TransportClose } from '../transport/transport.ts';
import { type Connection, type ConnectionSetup, createConnection } from './connection.ts';

export type ClientState = 'disconnected' | 'connecting' | 'connected';

/** What the session does not keep to itself. */
export type SessionPush = Exclude<Push, ReconnectPush>;

export interface SessionHooks {
  onState(state: ClientState, previous: ClientState, reason: TransportClose | undefined): void;
  onReconnecting(attempt: number, delayMs: number): void;
  onConnected(connected: Connected): void;
  /** From now on this is the connection to use. */
  onAttach(connection: Connection): void;
  /** This connection is closed, or about to be. */
  onDetach(connection: Connection): void;
  /** A second connection is open: subscribe there, then call `finishMove`. */
  onMove(connection: Connection): void;
  onPush(connection: Connection, push: SessionPush): void;
  onFlushed(): void;
  onError(error: WeirError): void;
  /** Disconnected for good: by the caller, or by a close that forbids to reconnect. */
  onStopped(error: WeirError): void;
}

export interface Session {
  readonly state: ClientState;
  connect(): void;
  disconnect(): void;
  finishMove(): void;
}

type Phase =
  | { name: 'disconnected'; connection?: undefined }
  | { name: 'waiting'; connection?: undefined; cancel: Cancel }
  | { name: 'opening'; connection: Connection }
  | { name: 'connected'; connection: Connection };

type Move =
  | { name: 'scheduled'; connection?: undefined; cancel: Cancel }
  | { name: 'opening'; connection: Connection; cancel?: undefined }
  | { name: 'resubscribing'; connection: Connection; cancel: Cancel };

/** Connected this long, the next loss counts as a first one, ms. */
const STABLE_MS = 10_000;
const NORMAL = 1000;

const publicState = ({ name }: Phase): ClientState => (name === 'waiting' || name === 'opening' ? 'connecting' : name);

export const createSession = (
  setup: ConnectionSetup,
  strategy: ReconnectStrategy,
  random: () => number,
  hooks: SessionHooks,
): Session => {
  const { clock } = setup;
  let phase: Phase = { name: 'disconnected' };
  let shown: ClientState = 'disconnected';
  let move: Move | undefined;
  let moveDeadlineMs = 0;
  /** Asked for by a connection before it was the one in use. */
  let nextMove: { connection: Connection; schedule(): void } | undefined;
  let attempts = 0;
  let cancelStable = (): void => undefined;
  /** Of the connection in use, for the next one to continue. */
  let sessionId: string | undefined;

  /** Handlers of the state event may call back into the session: whoever goes on after `enter` checks the phase again. */
  const enter = (next: Phase, reason?: TransportClose): void => {
    cancelStable();
    phase = next;
    show(reason);
  };
  const show = (reason?: TransportClose): void => {
    const state = publicState(phase);
    const previous = shown;
    shown = state;
    if (state !== previous) hooks.onState(state, previous, reason);
  };

  const open = (session?: string): Connection => {
    const connection: Connection = createConnection(setup, session, {
      onOpen: (connected) => handleOpen(connection, connected),
      onPush: (push) => handlePush(connection, push),
      onFlushed: hooks.onFlushed,
      onError: hooks.onError,
      onClosed: (close) => handleClosed(connection, close),
    });
    return connection;
  };

  const settle = (connection: Connection): void => {
    cancelStable();
    cancelStable = clock.after(STABLE_MS, () => {
      attempts = 0;
    });
    phase = { name: 'connected', connection };
    sessionId = connection.session;
    if (nextMove?.connection === connection) nextMove.schedule();
    // First, so that handlers of the state event can use the connection.
    hooks.onAttach(connection);
    show();
  };

  const handleOpen = (connection: Connection, connected: Connected): void => {
    if (move?.connection === connection) {
      const cancel = clock.after(Math.max(0, moveDeadlineMs - clock.now()), finishMove);
      move = { name: 'resubscribing', connection, cancel };
      hooks.onMove(connection);
    } else settle(connection);
    hooks.onConnected(connected);
  };

  const handlePush = (connection: Connection, push: Push): void => {
    if (push.type === 'reconnect') {
      const startMs = clock.now() + push.afterMs;
      const deadlineMs = clock.now() + push.withinMs;
      const schedule = (): void => scheduleMove(startMs, deadlineMs);
      if (phase.name === 'connected' && phase.connection === connection) schedule();
      else nextMove = { connection, schedule };
    } else hooks.onPush(connection, push);
  };

  const scheduleMove = (startMs: number, deadlineMs: number): void => {
    if (move?.connection) return;
    // The newest order counts: who is to move some time may be told to move now.
    move?.cancel();
    moveDeadlineMs = Math.max(startMs, deadlineMs);
    const cancel = clock.after(Math.max(0, startMs - clock.now()), () => {
      // The server serves the present connection on although the next one continues its session: it asked for the move.
      phase.connection!.isLeft = true;
      move = { name: 'opening', connection: open(sessionId) };
    });
    move = { name: 'scheduled', cancel };
  };

  /** Leaves the old connection for the new one; what was published on the old and not answered goes again on the new. */
  const finishMove = (): void => {
    if (move?.name !== 'resubscribing' || phase.name !== 'connected') return;
    const { connection: next, cancel } = move;
    const old = phase.connection;
    cancel();
    move = undefined;
    const moved: Phase = { name: 'connected', connection: next };
    phase = moved;
    // First close, so that unanswered publishes are back in the queue before newer ones leave it.
    old.close(NORMAL, 'moved');
    hooks.onDetach(old);
    if (phase === moved) settle(next);
  };

  const dropMove = (): void => {
    const dropped = move;
    move = undefined;
    dropped?.cancel?.();
    if (dropped?.connection) {
      hooks.onDetach(dropped.connection);
      dropped.connection.close(NORMAL, 'not needed');
    }
  };

  const handleClosed = (connection: Connection, close: TransportClose): void => {
    if (move?.connection === connection) {
      move.cancel?.();
      move = undefined;
      hooks.onDetach(connection);
      if (close.error) hooks.onError(close.error);
      // The old connection still serves: try again until the server closes that one.
      const retry = judgeClose(close);
      if (retry) {
        const delayMs = retry.serverDelayMs ?? strategy(++attempts, random);
        scheduleMove(clock.now() + delayMs, moveDeadlineMs);
      }
      return;
    }
    if (phase.connection !== connection) return;
    const retry = judgeClose(close);
    // With a successor on its way, what becomes of that one decides: it may be the very reason for the close.
    if (retry || move?.connection) {
      if (close.error) hooks.onError(close.error);
      replace(connection, close, retry?.serverDelayMs);
    } else stop(close.error ?? closedByServer(close.code, close.reason), close);
  };

  /** The connection in use is gone: the one of a move takes over, else a new one after a delay. */
  const replace = (connection: Connection, close: TransportClose, serverDelayMs: number | undefined): void => {
    const replacement = move;
    if (!replacement?.connection) {
      dropMove();
      const attempt = ++attempts;
      const delayMs = serverDelayMs ?? strategy(attempt, random);
      const cancel = clock.after(delayMs, () => enter({ name: 'opening', connection: open(sessionId) }));
      const waiting: Phase = { name: 'waiting', cancel };
      enter(waiting, close);
      hooks.onDetach(connection);
      if (phase === waiting) hooks.onReconnecting(attempt, delayMs);
      return;
    }
    replacement.cancel?.();
    move = undefined;
    if (replacement.name === 'opening') enter(replacement, close);
    else settle(replacement.connection);
    hooks.onDetach(connection);
  };

  const stop = (error: WeirError, reason?: TransportClose): void => {
    const last = phase;
    if (last.name === 'waiting') last.cancel();
    cancelStable();
    phase = { name: 'disconnected' };
    sessionId = undefined;
    attempts = 0;
    dropMove();
    if (last.connection) {
      last.connection.close(NORMAL, 'disconnected');
      hooks.onDetach(last.connection);
    }
    hooks.onStopped(error);
    show(reason);
  };

  return {
    get state() {
      return publicState(phase);
    },
    connect: () => {
      if (phase.name === 'disconnected') enter({ name: 'opening', connection: open() });
    },
    disconnect: () => {
      if (phase.name !== 'disconnected') stop(disconnected());
    },
    finishMove,
  };
};
