// The surface of the SDK: one client, its connection kept alive, its subscriptions and publishes.
import { connectionLost, disconnected, fromReply, handlerFailed, WeirError } from './errors.ts';
import { createEmitter, type Emitter, type EventSource, type Handler, type Unsubscribe } from './events.ts';
import { type ClientOptions, withDefaults } from './options.ts';
import type { BrokerState, Connected, History, Presence, Since } from './protocol/wire.ts';
import {
  createPublishQueue,
  type PublishOptions,
  type PublishQueue,
  type PublishResult,
} from './publish/publish-queue.ts';
import type { Connection } from './session/connection.ts';
import { createReads, type Reads } from './session/reads.ts';
import { type ClientState, createSession, type Session, type SessionPush } from './session/session.ts';
import { createHub, type Hub } from './subscriptions/hub.ts';
import type { SubscribeOptions, Subscription } from './subscriptions/subscription.ts';

export interface ClientEvents {
  /** `closed` tells why, when a close of the connection caused it. */
  state: { state: ClientState; previous: ClientState; closed: { code: number; reason: string } | undefined };
  /** The server accepted the connection; also after every reconnect and move. */
  connected: Connected;
  /** The connection is lost; the next attempt (counted from 1) starts after `delayMs`. */
  reconnecting: { attempt: number; delayMs: number };
  /** Whether the server can reach its broker. */
  status: { broker: BrokerState };
  /** The server subscribed this client by itself. */
  subscription: Subscription;
  /** Faults that belong to no call: refused connections, thrown handlers, refused subscriptions nobody watches. */
  error: WeirError;
}

export interface HistoryOptions {
  since?: Since;
  /** At most 1000. */
  limit?: number;
  reverse?: boolean;
}

interface Waiter {
  resolve(): void;
  reject(error: WeirError): void;
}

/** One connection to a Weir cluster, kept alive until `disconnect()`. */
export class WeirClient implements EventSource<ClientEvents> {
  readonly #emitter: Emitter<ClientEvents>;
  readonly #session: Session;
  readonly #hub: Hub;
  readonly #queue: PublishQueue;
  readonly #reads: Reads;
  readonly #now: () => number;
  #connection: Connection | undefined;
  #broker: BrokerState | undefined;
  #waiters: Waiter[] = [];

  /** `url` as in `wss://host/v1/ws`. Opens nothing yet. */
  constructor(url: string, options: ClientOptions = {}) {
    const settings = withDefaults(options);
    const { clock, random, strategy } = settings;
    const onThrown = (error: unknown): void => this.#report(handlerFailed(error));
    this.#now = () => clock.now();
    // What a handler of `error` itself throws can only go to the console.
    this.#emitter = createEmitter((error, event) => (event === 'error' ? console.error(error) : onThrown(error)));
    this.#queue = createPublishQueue(settings);
    this.#reads = createReads(clock, settings.commandTimeoutMs);
    this.#hub = createHub({
      maxIteratorMessages: settings.maxIteratorMessages,
      retryAfter: (delayMs, attempt, retry) => clock.after(delayMs ?? strategy(attempt, random), retry),
      onThrown,
      onUnhandledError: (error) => this.#report(error),
      onServerSubscription: (subscription) => this.#emitter.emit('subscription', subscription),
      onMoved: () => this.#session.finishMove(),
    });
    this.#session = createSession({ url, ...settings }, strategy, random, {
      onState: (state, previous, closed) => {
        this.#emitter.emit('state', {
          state,
          previous,
          closed: closed && { code: closed.code, reason: closed.reason },
        });
        if (state === 'connected') for (const { resolve } of this.#waiters.splice(0)) resolve();
      },
      onReconnecting: (attempt, delayMs) => this.#emitter.emit('reconnecting', { attempt, delayMs }),
      onConnected: (connected) => {
        this.#emitter.emit('connected', connected);
        this.#showStatus(connected.broker);
      },
      onAttach: (connection) => {
        this.#connection = connection;
        this.#hub.attach(connection);
        this.#reads.attach(connection);
        this.#queue.attach(connection);
      },
      onDetach: (connection) => {
        if (this.#connection === connection) this.#connection = undefined;
        this.#queue.detach(connection);
        this.#reads.detach(connection);
        this.#hub.detach(connection);
      },
      onMove: (connection) => this.#hub.move(connection),
      onPush: (connection, push) => this.#handlePush(connection, push),
      onFlushed: () => this.#queue.pump(),
      onError: (error) => this.#report(error),
      onStopped: (error) => {
        this.#queue.rejectAll(error);
        this.#reads.rejectAll(error);
        for (const { reject } of this.#waiters.splice(0)) reject(error);
        if (error.code !== disconnected().code) this.#report(error);
      },
    });
  }

  get state(): ClientState {
    return this.#session.state;
  }

  get isConnected(): boolean {
    return this.state === 'connected';
  }

  /** Resolves when connected, however many attempts it takes; rejects when the server forbids to try again, or on `disconnect()`. */
  connect(): Promise<void> {
    if (this.isConnected) return Promise.resolve();
    const connected = new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
    // Most callers do not wait for it: the `error` and `state` events tell the same.
    connected.catch(() => undefined);
    this.#session.connect();
    return connected;
  }

  /**
   * Closes the connection and rejects unanswered calls with `disconnected`. Subscriptions and their positions stay:
   * after another `connect()` they go on where they were.
   */
  disconnect(): void {
    this.#session.disconnect();
  }

  /** One subscription per channel: subscribing to a subscribed channel returns the present one, with its own options. */
  subscribe(channel: string, options: SubscribeOptions = {}): Subscription {
    return this.#hub.subscribe(channel, options);
  }

  /** As `unsubscribe()` of the channel's subscription; does nothing without one. */
  unsubscribe(channel: string): void {
    this.#hub.unsubscribe(channel);
  }

  /**
   * Resolves with the position when the message is in the log. While not connected it waits in the queue. Lost connections and temporary
   * errors are retried with the same `messageId`, in order except that messages already sent are not called back. Rejects with a WeirError.
   */
  publish(channel: string, data: unknown, options: PublishOptions = {}): Promise<PublishResult> {
    return this.#queue.publish(channel, data, options);
  }

  /** Messages kept of a channel. Waits for the connection; asked again when it is lost meanwhile. */
  history(channel: string, options: HistoryOptions = {}): Promise<History> {
    if (this.state === 'disconnected') return Promise.reject(disconnected());
    return this.#reads.read('history', { channel, ...options });
  }

  /** Members present in a channel. Waits for the connection; asked again when it is lost meanwhile. */
  presence(channel: string): Promise<Presence> {
    if (this.state === 'disconnected') return Promise.reject(disconnected());
    return this.#reads.read('presence', { channel });
  }

  /** Round trip to the node, ms. Rejects when not connected. */
  ping(): Promise<number> {
    const sentMs = this.#now();
    return new Promise((resolve, reject) => {
      if (!this.#connection) throw connectionLost();
      this.#connection.request('ping', {}, (outcome) => {
        if (outcome instanceof WeirError) reject(outcome);
        else resolve(this.#now() - sentMs);
      });
    });
  }

  on<E extends keyof ClientEvents>(event: E, handler: Handler<ClientEvents[E]>): Unsubscribe {
    return this.#emitter.on(event, handler);
  }

  once<E extends keyof ClientEvents>(event: E, handler: Handler<ClientEvents[E]>): Unsubscribe {
    return this.#emitter.once(event, handler);
  }

  #handlePush(connection: Connection, push: SessionPush): void {
    switch (push.type) {
      case 'status':
        this.#showStatus(push.broker);
        return;
      case 'error':
        this.#report(fromReply(push));
        return;
      default:
        this.#hub.handlePush(connection, push);
    }
  }

  #showStatus(broker: BrokerState): void {
    if (broker === this.#broker) return;
    this.#broker = broker;
    this.#emitter.emit('status', { broker });
  }

  #report(error: WeirError): void {
    if (this.#emitter.emit('error', error) === 0) console.error(error);
  }
}
