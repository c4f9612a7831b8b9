// Options of the client, with units and defaults.
import { type Clock, systemClock } from './clock.ts';
import type { PublishLimits } from './publish/publish-queue.ts';
import { fullJitter, type ReconnectStrategy } from './reconnect/strategy.ts';
import type { GetToken } from './session/token.ts';
import type { TransportFactory } from './transport/transport.ts';
import { type WebSocketConstructor, webSocketTransport } from './transport/websocket.ts';

/** What makes the client testable without waiting. */
export interface Internals {
  clock?: Clock;
  /** Numbers in [0, 1). */
  random?: () => number;
  /** Unique ids for `messageId`. */
  createId?: () => string;
}

export interface ClientOptions {
  /** Called before every connection, and when the token is about to expire. */
  getToken?: GetToken;
  /** Used instead of the global WebSocket or the package `ws`. */
  WebSocket?: WebSocketConstructor;
  /** Used instead of WebSocket altogether. */
  transport?: TransportFactory;
  /** Shown to operators. */
  name?: string;
  version?: string;
  reconnect?: ReconnectStrategy;
  /** Bounds of the publish queue. Defaults: 10 000 messages, 4 MiB, 5 attempts, 10 240 bytes buffered in the socket. */
  publish?: Partial<PublishLimits>;
  /** Unread messages an async iteration may have. Default 10 000: frames hold hundreds, and several may arrive before a loop runs. */
  maxIteratorMessages?: number;
  /** For the answer of `getToken`, and then from opening the socket to `connected`. Default 10 000. */
  connectTimeoutMs?: number;
  /** From a command to its reply. Default 10 000. */
  commandTimeoutMs?: number;
  /** Silence beyond the server's ping interval after which the client asks. Default 5000. */
  livenessMarginMs?: number;
  /** Time the server has to answer that. Default 5000. */
  pongTimeoutMs?: number;
  internals?: Internals;
}

/** 128 random bits in hex; `crypto.randomUUID` exists in secure contexts only. */
const randomId = (): string => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
};

export const withDefaults = (options: ClientOptions) => ({
  transport: options.transport ?? webSocketTransport(options.WebSocket),
  getToken: options.getToken,
  client: { name: options.name ?? '@weir/client', version: options.version ?? '0.1.0' },
  strategy: options.reconnect ?? fullJitter(),
  limits: { maxMessages: 10_000, maxBytes: 4_194_304, maxAttempts: 5, maxBufferedBytes: 10_240, ...options.publish },
  maxIteratorMessages: options.maxIteratorMessages ?? 10_000,
  connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
  commandTimeoutMs: options.commandTimeoutMs ?? 10_000,
  livenessMarginMs: options.livenessMarginMs ?? 5000,
  pongTimeoutMs: options.pongTimeoutMs ?? 5000,
  clock: options.internals?.clock ?? systemClock,
  random: options.internals?.random ?? Math.random,
  createId: options.internals?.createId ?? randomId,
});
