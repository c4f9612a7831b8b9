// Error and close codes as data: numbers, names, and what a client may conclude from the number alone (protocol §5).

export interface ErrorCode {
  readonly code: number;
  readonly name: string;
  /** A temporary error may be retried as it is; a permanent one needs another request. */
  readonly temporary: boolean;
  /** HTTP status of the same error on the server API (protocol §7). */
  readonly httpStatus: number;
  readonly meaning: string;
}

const error = (code: number, name: string, temporary: boolean, httpStatus: number, meaning: string): ErrorCode => ({
  code,
  name,
  temporary,
  httpStatus,
  meaning,
});

export const errorCodes = {
  internal: error(100, 'internal', true, 500, 'the server failed; the log has the details under the correlation id'),
  unauthorized: error(101, 'unauthorized', false, 401, 'no valid credential was presented'),
  unknownChannel: error(102, 'unknown_channel', false, 404, 'the namespace of the channel does not exist'),
  permissionDenied: error(103, 'permission_denied', false, 403, 'the credential does not grant this'),
  unknownCommand: error(104, 'unknown_command', false, 404, 'no command or path of this name exists'),
  alreadySubscribed: error(105, 'already_subscribed', false, 409, 'this connection already subscribes to the channel'),
  limitExceeded: error(106, 'limit_exceeded', false, 413, 'a size or count is over its configured bound'),
  badRequest: error(107, 'bad_request', false, 422, 'a field is missing, of the wrong type or out of range'),
  notAvailable: error(108, 'not_available', false, 404, 'known to the protocol, not available on this node or channel'),
  tokenExpired: error(109, 'token_expired', false, 401, 'the token was valid once; fetch a new one'),
  tooManyRequests: error(111, 'too_many_requests', true, 429, 'slow down and retry after the given delay'),
  unrecoverablePosition: error(112, 'unrecoverable_position', false, 409, 'the position cannot be continued from'),
  notSubscribed: error(113, 'not_subscribed', false, 409, 'this connection does not subscribe to the channel'),
  brokerUnavailable: error(
    114,
    'broker_unavailable',
    true,
    503,
    'the broker cannot be reached; nothing is known to be lost',
  ),
  overloaded: error(115, 'overloaded', true, 429, 'the node sheds load; retry after the given delay'),
} as const satisfies Record<string, ErrorCode>;

export type ErrorName = keyof typeof errorCodes;

export interface CloseCode {
  readonly code: number;
  readonly name: string;
  readonly meaning: string;
}

const close = (code: number, name: string, meaning: string): CloseCode => ({ code, name, meaning });

export const closeCodes = {
  goingAway: close(1001, 'going_away', 'the page or process ends'),
  messageTooBig: close(1009, 'message_too_big', 'a frame was over maxFrameBytes'),
  restart: close(1012, 'restart', 'the node restarts; reconnect to another one'),
  tryLater: close(1013, 'try_later', 'the node refuses for now; the reason carries retryAfterMs=…'),
  closed: close(3000, 'closed', 'closed by the server without a fault of either side'),
  drain: close(3001, 'drain', 'the node drains and the connection was still there'),
  tokenExpired: close(3005, 'token_expired', 'the token expired and was not refreshed in time'),
  tooSlow: close(
    3008,
    'behind_for_too_long',
    'replies were not read, the memory budget of the node was used up, or the namespace limits how far behind one may be',
  ),
  stateLost: close(3010, 'state_lost', 'the node lost the state of the connection'),
  noPong: close(3012, 'no_pong', 'no pong within the deadline'),
  rateLimited: close(3013, 'rate_limited', 'commands came faster than the limit allows'),
  overloaded: close(3014, 'overloaded', 'the node sheds connections'),
  invalidToken: close(3500, 'invalid_token', 'the token was refused'),
  badRequest: close(3501, 'bad_request', 'too many malformed commands in a row, or a binary frame'),
  noConnect: close(3502, 'no_connect', 'no connect command within the deadline'),
  disconnected: close(3503, 'disconnected', 'disconnected by an operator or the application'),
  tooManyConnections: close(3504, 'too_many_connections', 'a connection limit is reached'),
  tooManySubscriptions: close(3505, 'too_many_subscriptions', 'a subscription limit is exceeded persistently'),
  permissionDenied: close(3507, 'permission_denied', 'the right to be connected was withdrawn'),
} as const satisfies Record<string, CloseCode>;

/** Whether a client reconnects after this close code; decided from the number alone (protocol §5). */
export const mayReconnect = (code: number): boolean =>
  !((code >= 3500 && code <= 3999) || (code >= 4500 && code <= 4999));
