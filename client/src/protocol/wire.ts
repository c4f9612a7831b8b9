// Messages of the wire as plain types, so that the published types need no schema library; a test compares them with the schemas.

export interface Position {
  epoch: string;
  offset: number;
}
/** Where a subscription starts: after a position, at the oldest message kept, or n messages before the head. */
export type Since = Position | 'earliest' | { last: number };
export type Policy = 'all' | 'latest' | 'conflate' | 'ack';
export type BrokerState = 'ready' | 'degraded';
export type GapReason = 'expired' | 'conflated' | 'lost' | 'epoch' | 'dropped';
export interface Publisher {
  user?: string;
  connection: string;
}
export interface JoinedMember {
  user: string;
  info?: unknown;
}
export interface Member extends JoinedMember {
  connections: number;
}
export interface HistoryMessage {
  offset: number;
  data: unknown;
  key?: string;
  publisher?: Publisher;
  /** Unix time, ms. */
  time: number;
}

export interface Commands {
  connect: { token?: string; session?: string; client?: { name?: string; version?: string } };
  refresh: { token: string };
  subscribe: { channel: string; since?: Since; policy?: Policy; window?: number; presence?: boolean };
  unsubscribe: { channel: string };
  publish: { channel: string; data: unknown; key?: string; messageId?: string };
  history: { channel: string; since?: Since; limit?: number; reverse?: boolean };
  presence: { channel: string };
  ack: { channel: string; offset: number };
  ping: { channel?: never };
}
export type CommandType = keyof Commands;
export type Command = { [T in CommandType]: { type: T; id?: number } & Commands[T] }[CommandType];

interface ReplyBase<T extends string> {
  type: T;
  id?: number;
}
export interface Connected extends ReplyBase<'connected'> {
  connection: string;
  node: string;
  session: string;
  user?: string;
  expiresInMs?: number;
  pingIntervalMs: number;
  limits: { maxFrameBytes: number; maxSubscriptions: number };
  broker: BrokerState;
  /** Unix time, ms. */
  serverTime: number;
}
export interface Refreshed extends ReplyBase<'refreshed'> {
  expiresInMs: number;
}
export interface Subscribed extends ReplyBase<'subscribed'> {
  channel: string;
  epoch?: string;
  /** Head of the channel when it was subscribed. */
  offset?: number;
  recovered: boolean;
  policy: Policy;
}
export interface Unsubscribed extends ReplyBase<'unsubscribed'> {
  channel: string;
  code?: number;
  reason?: string;
}
export interface Published extends ReplyBase<'published'> {
  channel: string;
  epoch?: string;
  offset?: number;
  duplicate: boolean;
}
export interface History extends ReplyBase<'history'> {
  channel: string;
  epoch: string;
  offset: number;
  messages: HistoryMessage[];
  more: boolean;
}
export interface Presence extends ReplyBase<'presence'> {
  channel: string;
  members: Member[];
  total: number;
}
export interface ErrorReply extends ReplyBase<'error'> {
  code: number;
  name: string;
  message: string;
  temporary: boolean;
  retryAfterMs?: number;
}
type Pong = ReplyBase<'pong'>;

/** The reply of each command that has one. */
export interface Replies {
  connect: Connected;
  refresh: Refreshed;
  subscribe: Subscribed;
  unsubscribe: Unsubscribed;
  publish: Published;
  history: History;
  presence: Presence;
  ping: Pong;
}
export type RequestType = keyof Replies;
export type Reply = Replies[RequestType] | ErrorReply;

export interface Message {
  type: 'message';
  channel: string;
  data: unknown;
  offset?: number;
  key?: string;
  publisher?: Publisher;
  /** Unix time, ms. */
  time: number;
}
/** Offsets `from` to `to` (inclusive) will never be delivered; null where they are unknown. */
export interface Gap {
  type: 'gap';
  channel: string;
  from?: number | null;
  to?: number | null;
  count: number | null;
  reason: GapReason;
  epoch?: string;
  offset?: number;
}
export interface Joined {
  type: 'join' | 'leave';
  channel: string;
  member: JoinedMember;
}
export interface ReconnectPush {
  type: 'reconnect';
  afterMs: number;
  withinMs: number;
  reason: string;
}
export interface Status {
  type: 'status';
  broker: BrokerState;
}
/** What one channel may receive unasked. */
export type ChannelPush = Message | Gap | Joined | Subscribed | Unsubscribed;
export type Push = ChannelPush | ReconnectPush | Status | ErrorReply;
