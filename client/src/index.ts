// What the package `@weir/client` exports; every type reachable from it must be plain, without the schema library.
export { type ClientEvents, type HistoryOptions, WeirClient } from './client.ts';
export { type Cancel, type Clock } from './clock.ts';
export { WeirError } from './errors.ts';
export type { EventSource, Handler, Unsubscribe } from './events.ts';
export type { ClientOptions, Internals } from './options.ts';
export type {
  BrokerState,
  Connected,
  Gap,
  GapReason,
  History,
  HistoryMessage,
  JoinedMember,
  Member,
  Message,
  Policy,
  Position,
  Presence,
  Publisher,
  Since,
} from './protocol/wire.ts';
export type { PublishLimits, PublishOptions, PublishResult } from './publish/publish-queue.ts';
export { fullJitter, type FullJitterOptions, type ReconnectStrategy } from './reconnect/strategy.ts';
export type { ClientState } from './session/session.ts';
export type { GetToken } from './session/token.ts';
export type {
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionState,
} from './subscriptions/subscription.ts';
export type { Transport, TransportClose, TransportFactory, TransportHandlers } from './transport/transport.ts';
export { type WebSocketConstructor, type WebSocketLike, webSocketTransport } from './transport/websocket.ts';
