// What an application holds of a channel: its state, its events, its messages. What drives it is in channel-link.ts.
import type { WeirError } from '../errors.ts';
import type { EventSource } from '../events.ts';
import type { Gap, JoinedMember, Message, Policy, Position, Since } from '../protocol/wire.ts';

export interface SubscribeOptions {
  /** Where to start; live only when absent. */
  since?: Since;
  /** What happens while this client is slower than the channel; the namespace decides when absent. */
  policy?: Policy;
  /** Messages in flight without `ack`, with policy `ack`. */
  window?: number;
  /** Ask for `join` and `leave`. */
  presence?: boolean;
}

export type SubscriptionState = 'unsubscribed' | 'subscribing' | 'subscribed';

export interface SubscriptionEvents {
  /** In offset order, each offset once. */
  message: Message;
  /** Offsets that will never be delivered. Messages and gaps together have no hole: no gap means nothing was lost. */
  gap: Gap;
  /** The subscription is being made, or made again after the connection was lost. */
  subscribing: { channel: string };
  subscribed: { channel: string; position: Position | undefined; recovered: boolean; policy: Policy };
  /** Over, by `unsubscribe()` or by the server; `error` when the server refused. */
  unsubscribed: { channel: string; code: number | undefined; reason: string | undefined; error: WeirError | undefined };
  join: JoinedMember;
  leave: JoinedMember;
  /** Without a handler here it goes to the `error` event of the client. */
  error: WeirError;
}

export interface Subscription extends EventSource<SubscriptionEvents>, AsyncIterable<Message> {
  readonly channel: string;
  readonly state: SubscriptionState;
  /** Everything up to here was delivered or reported as a gap; undefined while unknown and on ephemeral channels. */
  readonly position: Position | undefined;
  /** Final: to listen again, call `client.subscribe` again. */
  unsubscribe(): void;
  /**
   * Confirms messages up to `offset` (default: the position); for policy `ack`, where an iteration does it too: a message is confirmed
   * when the loop asks for the next. After a reconnect nothing unconfirmed comes again: delivery goes on after the position.
   */
  ack(offset?: number): void;
  /**
   * `for await (const message of subscription)`: messages from this call on. It ends when the subscription does (throwing
   * the error when the server refused it), and throws `iteration_overflow` when the loop falls too far behind: it never drops in silence.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
}
