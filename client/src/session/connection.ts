// One connection from its token to its close: handshake, requests and their replies, pushes in order.
import type { Clock } from '../clock.ts';
import { CONNECTION_LOST, connectionLost, TOKEN_EXPIRED, tooLarge, WeirError } from '../errors.ts';
import { createMonitor, type Monitor } from '../monitor/monitor.ts';
import { byteLength, decodeFrame, encodeCommand, encodeFields } from '../protocol/codec.ts';
import type { Commands, CommandType, Connected, Push, RequestType } from '../protocol/wire.ts';
import type { Transport, TransportClose, TransportFactory } from '../transport/transport.ts';
import { createOutbox } from './outbox.ts';
import { createPending, type OnReply } from './pending.ts';
import { createTokenKeeper, fetchToken, type GetToken } from './token.ts';

export interface ConnectionSetup {
  url: string;
  transport: TransportFactory;
  clock: Clock;
  getToken: GetToken | undefined;
  client: { name: string; version: string };
  connectTimeoutMs: number;
  commandTimeoutMs: number;
  pongTimeoutMs: number;
  livenessMarginMs: number;
}

export interface ConnectionHooks {
  onOpen(connected: Connected): void;
  onPush(push: Push): void;
  /** A batch went out: the buffer may have room again. */
  onFlushed(): void;
  /** A fault the connection survives. */
  onError(error: WeirError): void;
  /** Exactly once, after the unanswered requests were settled with `connection_lost`. */
  onClosed(close: TransportClose): void;
}

export interface Connection {
  /** Exactly one outcome, never synchronously. On `connection_lost` the callback MUST NOT send on this connection. */
  request<T extends RequestType>(type: T, fields: Commands[T], onReply: OnReply<T>): void;
  /** As `request`, with fields encoded by `encodeFields`. */
  requestEncoded<T extends RequestType>(type: T, fields: string, onReply: OnReply<T>): void;
  /** A command without reply. */
  notify<T extends CommandType>(type: T, fields: Commands[T]): void;
  readonly bufferedBytes: number;
  /** To be continued by another connection, on any node; the server's once connected. */
  readonly session: string | undefined;
  /** The server restored the session it was asked to continue. */
  readonly isContinued: boolean;
  /** A move from here has begun: its session may be another connection's by now, also when the move failed. */
  isLeft: boolean;
  /** Closes at once from our side: a dead network would never confirm. */
  close(code: number, reason: string, error?: WeirError): void;
}

const NORMAL = 1000;
/** Closed by us with an intention to come back. */
const CLOSED = 3000;
const NO_PONG = 3012;
const DEFAULT_PING_INTERVAL_MS = 25_000;

/** No hook is called synchronously. */
export const createConnection = (
  setup: ConnectionSetup,
  session: string | undefined,
  hooks: ConnectionHooks,
): Connection => {
  const { clock } = setup;
  let state: 'live' | 'closed' = 'live';
  let transport: Transport | undefined;
  let maxFrameBytes = Infinity;
  let monitor: Monitor | undefined;
  let cancelTimeout = (): void => undefined;
  let isContinued = false;
  let lastId = 0;
  const pending = createPending(clock, setup.commandTimeoutMs);
  const isClosed = (): boolean => state === 'closed';
  const outbox = createOutbox(
    (frame) => {
      if (!isClosed()) transport?.send(frame);
    },
    () => maxFrameBytes,
    () => {
      if (!isClosed()) hooks.onFlushed();
    },
  );

  const handleClose = (close: TransportClose): void => {
    if (isClosed()) return;
    state = 'closed';
    cancelTimeout();
    monitor?.stop();
    token.stop();
    pending.abandon();
    hooks.onClosed(close);
  };
  const close = (code: number, reason: string, error?: WeirError): void => {
    if (isClosed()) return;
    transport?.close(code, reason);
    handleClose({ code, reason, ...(error && { error }) });
  };

  const send = <T extends RequestType>(type: T, fields: string, onReply: OnReply<T>): void => {
    const id = ++lastId;
    const command = encodeCommand(type, fields, id);
    const bytes = byteLength(command);
    pending.add(id, type, onReply);
    if (isClosed()) queueMicrotask(() => pending.settle(id, connectionLost()));
    else if (bytes > maxFrameBytes) queueMicrotask(() => pending.settle(id, tooLarge(bytes, maxFrameBytes)));
    else outbox.add(command);
  };
  const token = createTokenKeeper({
    clock,
    getToken: setup.getToken,
    sendRefresh: (value, onReply) => send('refresh', encodeFields({ token: value }), onReply),
    onError: (error) => {
      if (!isClosed()) hooks.onError(error);
    },
  });

  const handleConnected = (connected: Connected): void => {
    cancelTimeout();
    maxFrameBytes = connected.limits.maxFrameBytes;
    isContinued = connected.session === session;
    session = connected.session;
    monitor = createMonitor({
      clock,
      idleMs: (connected.pingIntervalMs || DEFAULT_PING_INTERVAL_MS) + setup.livenessMarginMs,
      pongTimeoutMs: setup.pongTimeoutMs,
      sendPing: () => send('ping', '{}', () => undefined),
      onDead: () => close(NO_PONG, 'no pong'),
    });
    token.schedule(connected.expiresInMs);
    hooks.onOpen(connected);
  };

  const handleFrame = (frame: string): void => {
    monitor?.received();
    try {
      for (const message of decodeFrame(frame)) {
        // A handler may have closed the connection: the rest of the frame comes again from the cursor.
        if (isClosed()) return;
        if ('id' in message && message.id !== undefined) pending.settle(message.id, message);
        else hooks.onPush(message as Push);
      }
    } catch (error) {
      close(CLOSED, 'malformed frame', error as WeirError);
    }
  };

  const armTimeout = (): void => {
    cancelTimeout();
    cancelTimeout = clock.after(setup.connectTimeoutMs, () => close(CLOSED, 'connect timeout'));
  };
  const open = (value: string | undefined): void => {
    if (isClosed()) return;
    armTimeout();
    transport = setup.transport(setup.url, {
      onOpen: () => {
        const fields = {
          ...(value !== undefined && { token: value }),
          ...(session && { session }),
          client: setup.client,
        };
        send('connect', encodeFields(fields), (outcome) => {
          if (isClosed()) return;
          if (outcome instanceof WeirError) close(NORMAL, outcome.name, outcome);
          else handleConnected(outcome);
        });
      },
      onFrame: handleFrame,
      onClose: handleClose,
    });
  };
  // `getToken` may hang; the socket gets its whole time afterwards.
  armTimeout();
  fetchToken(setup.getToken).then(open, (error: unknown) => close(CLOSED, 'no token', error as WeirError));

  const requestEncoded: Connection['requestEncoded'] = (type, fields, onReply) =>
    send(type, fields, (outcome) => {
      if (!(outcome instanceof WeirError && outcome.code === TOKEN_EXPIRED && setup.getToken)) {
        onReply(outcome);
        return;
      }
      token.refresh((error) => {
        if (!error) send(type, fields, onReply);
        else onReply(error.code === CONNECTION_LOST ? error : outcome);
      });
    });

  return {
    request: (type, fields, onReply) => requestEncoded(type, encodeFields(fields), onReply),
    requestEncoded,
    notify: (type, fields) => {
      if (!isClosed()) outbox.add(encodeCommand(type, encodeFields(fields)));
    },
    get session() {
      return session;
    },
    get isContinued() {
      return isContinued;
    },
    isLeft: false,
    get bufferedBytes() {
      return outbox.bytes + (transport?.bufferedBytes ?? 0);
    },
    close,
  };
};
