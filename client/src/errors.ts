// The one error type of the SDK: the server's error codes (100 and above) plus those only a client can have (below 100).
import type { ErrorReply } from './protocol/wire.ts';

export interface WeirErrorDetails {
  temporary?: boolean;
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** `code` and `name` as in the error table of the protocol; codes below 100 are made by the SDK itself. */
export class WeirError extends Error {
  readonly code: number;
  override readonly name: string;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;
  /** Delay the server asks for before a retry, ms. */
  readonly retryAfterMs: number | undefined;

  constructor(code: number, name: string, message: string, details: WeirErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.code = code;
    this.name = name;
    this.temporary = details.temporary ?? false;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Server codes the SDK acts upon. */
export const NOT_AVAILABLE = 108;
export const ALREADY_SUBSCRIBED = 105;
export const TOKEN_EXPIRED = 109;
export const UNRECOVERABLE_POSITION = 112;

/** Client code of a command whose connection closed before its reply came. */
export const CONNECTION_LOST = 2;

export const fromReply = (reply: ErrorReply): WeirError => new WeirError(reply.code, reply.name, reply.message, reply);

export const timedOut = (what: string): WeirError =>
  new WeirError(1, 'timeout', `no answer in time: ${what}`, { temporary: true });

export const connectionLost = (): WeirError =>
  new WeirError(CONNECTION_LOST, 'connection_lost', 'closed before the reply', { temporary: true });

export const disconnected = (): WeirError => new WeirError(3, 'disconnected', 'the client is disconnected');

export const queueOverflow = (): WeirError =>
  new WeirError(4, 'queue_overflow', 'the publish queue is full', { temporary: true });

export const webSocketMissing = (cause?: unknown): WeirError =>
  new WeirError(5, 'websocket_missing', 'no WebSocket: install "ws" or pass the WebSocket option', { cause });

export const iterationOverflow = (): WeirError =>
  new WeirError(6, 'iteration_overflow', 'the iteration fell too far behind');

/** The publish may or may not be in the log: its `messageId` is too old for a retry to be recognised. */
export const outcomeUnknown = (): WeirError =>
  new WeirError(7, 'outcome_unknown', 'unanswered, and too old for a safe retry');

export const closedByServer = (code: number, reason: string): WeirError =>
  new WeirError(8, 'closed', `closed by the server with ${code} ${reason}`);

export const handlerFailed = (cause: unknown): WeirError =>
  new WeirError(9, 'handler_failed', `a handler threw: ${String(cause)}`, { cause });

export const tokenFailed = (cause: unknown): WeirError =>
  new WeirError(10, 'token_failed', `getToken failed: ${String(cause)}`, { temporary: true, cause });

export const malformedFrame = (cause?: unknown): WeirError =>
  new WeirError(11, 'malformed_frame', 'the server sent no protocol JSON', { temporary: true, cause });

export const transportFailed = (cause: unknown): WeirError =>
  new WeirError(12, 'transport_failed', `transport unusable: ${String(cause)}`, { cause });

export const badRequest = (cause: unknown): WeirError =>
  new WeirError(107, 'bad_request', `not JSON: ${String(cause)}`, { cause });

export const tooLarge = (bytes: number, limit: number): WeirError =>
  new WeirError(106, 'limit_exceeded', `the command has ${bytes} bytes, the server takes ${limit}`);
