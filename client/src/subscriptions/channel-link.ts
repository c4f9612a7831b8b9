// Ties one subscription to the connections that feed it: subscribing, resuming from its cursor, moving without a seam.
import { UNRECOVERABLE_POSITION, WeirError } from '../errors.ts';
import { createEmitter } from '../events.ts';
import type { ChannelPush, Message, Position, Since, Subscribed, Unsubscribed } from '../protocol/wire.ts';
import type { Connection } from '../session/connection.ts';
import { acceptGap, acceptMessage, type Cursor, jumped, resumed, type Step, unknownCursor } from './cursor.ts';
import { createMessageFeed, type MessageFeed } from './message-iterator.ts';
import { judgeRefusal } from './refusal.ts';
import type { SubscribeOptions, Subscription, SubscriptionEvents, SubscriptionState } from './subscription.ts';

export interface LinkSetup {
  channel: string;
  options: SubscribeOptions;
  /** `server`: made by the server on connect, which does it again on every connection. */
  origin: 'client' | 'server';
  maxIteratorMessages: number;
  retryAfter(delayMs: number | undefined, attempt: number, retry: () => void): () => void;
  onThrown(error: unknown): void;
  onUnhandledError(error: WeirError): void;
  /** The application left; the connections are those the server knows it by. */
  onLeft(connections: Set<Connection | undefined>): void;
  /** The link is on another connection, or over. */
  onChanged(): void;
  onUnsubscribed(link: ChannelLink): void;
}

export interface ChannelLink {
  readonly subscription: Subscription;
  readonly origin: LinkSetup['origin'];
  /** The connection whose pushes count. */
  readonly source: Connection | undefined;
  /** Subscribes on this connection, unless done or under way; the present source goes on until the new one takes over. */
  join(connection: Connection): void;
  /** The connection is gone. */
  leave(connection: Connection): void;
  handlePush(connection: Connection, push: ChannelPush): void;
}

/** The connection that is to become the source: asked to subscribe, or ahead of the cursor by messages the source still brings. */
type Joining =
  | { connection: Connection; seam?: undefined }
  | { connection: Connection; seam: { subscribed: Subscribed; held: ChannelPush[] } };

type Asked = Parameters<typeof judgeRefusal>[2];

/** Pushes held while the old source catches up; more than this and the rest is reported as a gap. */
const MAX_HELD = 1000;

export const createChannelLink = (setup: LinkSetup): ChannelLink => {
  const { channel, options, origin } = setup;
  const emitter = createEmitter<SubscriptionEvents>(setup.onThrown);
  const feeds = new Set<MessageFeed>();
  let state: SubscriptionState = 'subscribing';
  let cursor: Cursor =
    typeof options.since === 'object' && 'epoch' in options.since
      ? { epoch: undefined, position: options.since }
      : unknownCursor;
  /** Where to start while no position is known. */
  let start = options.since;
  let source: Connection | undefined;
  let joining: Joining | undefined;
  /** The one in force. */
  let policyInForce = options.policy;
  /** How far the application has acknowledged. */
  let acked: { epoch: string | undefined; offset: number } = { epoch: undefined, offset: 0 };
  /** What the server said of the position it refused last. */
  let judged: Parameters<typeof jumped>[2];
  let attempts = 0;
  let failure: WeirError | undefined;
  let cancelRetry = (): void => undefined;

  // Later, so that whoever subscribes can hear it.
  queueMicrotask(() => {
    if (origin === 'client' && state === 'subscribing') emitter.emit('subscribing', { channel });
  });
  const next = (): Since | undefined => cursor.position ?? start;
  const isOver = (): boolean => state === 'unsubscribed';
  const report = (error: WeirError): void => {
    if (emitter.emit('error', error) === 0) setup.onUnhandledError(error);
  };

  const take = ({ cursor: next, gaps }: Step): void => {
    cursor = next;
    for (const gap of gaps) if (!isOver()) emitter.emit('gap', gap);
  };

  const ack = (offset = cursor.position?.offset): void => {
    if (offset === undefined) return;
    const { epoch } = cursor;
    if (acked.epoch !== epoch || acked.offset < offset) acked = { epoch, offset };
    source?.notify('ack', { channel, offset });
  };
  const handleProcessed = ({ offset }: Message): void => {
    // One of an older numbering says nothing about this one.
    if (policyInForce === 'ack' && offset && cursor.position && offset <= cursor.position.offset) ack(offset);
  };

  const apply = (push: ChannelPush): void => {
    if (isOver()) return;
    switch (push.type) {
      case 'message': {
        const step = acceptMessage(cursor, push);
        take(step);
        if (step.verdict === 'duplicate') {
          // Acknowledged where it came from first: this server still counts it.
          if (acked.epoch === cursor.epoch && push.offset! <= acked.offset) ack(push.offset);
          return;
        }
        if (isOver()) return;
        for (const feed of feeds) feed.push(push);
        emitter.emit('message', push);
        return;
      }
      case 'gap':
        take(acceptGap(cursor, push));
        return;
      case 'join':
      case 'leave':
        emitter.emit(push.type, push.member);
        return;
      case 'subscribed':
        return;
      case 'unsubscribed':
        end(push, undefined);
    }
  };

  const end = ({ code, reason }: Partial<Unsubscribed>, error: WeirError | undefined): void => {
    if (isOver()) return;
    state = 'unsubscribed';
    failure = error;
    cancelRetry();
    source = undefined;
    joining = undefined;
    for (const feed of [...feeds]) feed.end(error);
    setup.onUnsubscribed(link);
    emitter.emit('unsubscribed', { channel, code, reason, error });
    setup.onChanged();
  };

  /** The connection becomes the source; `step` is what that skips, `held` what it sent meanwhile. */
  const switchTo = (connection: Connection, subscribed: Subscribed, step: Step, held: ChannelPush[]): void => {
    const previous = state;
    joining = undefined;
    source = connection;
    attempts = 0;
    state = 'subscribed';
    cursor = step.cursor;
    policyInForce = subscribed.policy;
    if (previous === 'subscribing') {
      const recovered = subscribed.recovered && step.gaps.length === 0;
      emitter.emit('subscribed', { channel, position: cursor.position, recovered, policy: policyInForce });
    }
    for (const gap of step.gaps) if (!isOver()) emitter.emit('gap', gap);
    for (const push of held) apply(push);
    setup.onChanged();
  };

  const closeSeam = (): void => {
    if (!joining?.seam) return;
    const { subscribed, held } = joining.seam;
    switchTo(joining.connection, subscribed, jumped(cursor, subscribed), held);
  };

  const handleSubscribed = (connection: Connection, subscribed: Subscribed, since: Since | undefined): void => {
    if (since !== undefined) {
      const { epoch, offset } = subscribed;
      // Counted from the head of now: the same words would mean a later place after a reconnect.
      if (typeof since === 'object' && 'last' in since && epoch !== undefined && offset !== undefined) {
        start = { epoch, offset: Math.max(0, offset - since.last) };
      }
      switchTo(connection, subscribed, { cursor: resumed(cursor, subscribed), gaps: [], verdict: 'new' }, []);
      return;
    }
    const step = jumped(cursor, subscribed, judged);
    if (source && source !== connection && step.gaps[0]?.reason === 'lost') {
      joining = { connection, seam: { subscribed, held: [] } };
    } else switchTo(connection, subscribed, step, []);
  };

  const handleServerSubscribed = (connection: Connection, subscribed: Subscribed): void => {
    // Nobody gave it another start than the head it had the first time.
    const position = next() as Position | undefined;
    const { epoch, offset } = subscribed;
    if (epoch !== undefined && offset !== undefined) start = { epoch, offset };
    // A restored session goes on where it was, and a first time starts where the server says; all else is live.
    const isLive = source ?? (position && !connection.isContinued);
    if (isLive) cursor = { epoch: cursor.epoch, position };
    handleSubscribed(connection, subscribed, isLive ? undefined : (position ?? 'earliest'));
  };

  const handleRefused = (connection: Connection, error: WeirError, since: Since | undefined, asked: Asked): void => {
    const refusal = judgeRefusal(error, since, asked);
    switch (refusal) {
      case 'wait':
        joining = undefined;
        return;
      case 'live':
        judged = error.code === UNRECOVERABLE_POSITION ? 'impossible' : 'possible';
        ask(connection, undefined, asked);
        return;
      case 'restart':
        connection.request('unsubscribe', { channel }, () => undefined);
        ask(connection, since, 'restarted');
        return;
      case 'retry':
        report(error);
        if (!isOver())
          cancelRetry = setup.retryAfter(error.retryAfterMs, ++attempts, () => ask(connection, next(), 'first'));
        return;
      case 'end':
        report(error);
        end({ code: error.code, reason: error.message }, error);
    }
  };

  const ask = (connection: Connection, since: Since | undefined, how: Asked): void => {
    const asked: Joining = { connection };
    joining = asked;
    const { policy, window, presence } = options;
    // Undefined fields do not reach the wire.
    const fields = { channel, since, policy, window, presence } as { channel: string };
    connection.request('subscribe', fields, (outcome) => {
      if (joining !== asked) return;
      if (outcome instanceof WeirError) handleRefused(connection, outcome, since, how);
      else handleSubscribed(connection, outcome, since);
    });
  };

  const subscription: Subscription = {
    channel,
    get state() {
      return state;
    },
    get position() {
      return cursor.position;
    },
    on: emitter.on,
    once: emitter.once,
    unsubscribe: () => {
      if (isOver()) return;
      setup.onLeft(new Set([source, joining?.connection]));
      end({}, undefined);
    },
    ack,
    [Symbol.asyncIterator]: () => {
      const feed = createMessageFeed(setup.maxIteratorMessages, handleProcessed, (ended) => feeds.delete(ended));
      feeds.add(feed);
      if (isOver()) feed.end(failure);
      return feed.iterator;
    },
  };

  const link: ChannelLink = {
    subscription,
    origin,
    get source() {
      return source;
    },
    join: (connection) => {
      if (isOver() || source === connection || origin === 'server') return;
      if (joining?.connection === connection) return;
      cancelRetry();
      ask(connection, next(), 'first');
    },
    leave: (connection) => {
      if (isOver()) return;
      if (joining?.connection === connection) {
        cancelRetry();
        joining = undefined;
      }
      if (source !== connection) return;
      source = undefined;
      if (joining?.seam) {
        closeSeam();
        return;
      }
      state = 'subscribing';
      emitter.emit('subscribing', { channel });
    },
    handlePush: (connection, push) => {
      if (push.type === 'subscribed') {
        // A session restored by the server: our own subscribe, with the cursor, is on its way and wins.
        if (origin === 'server' && source !== connection) handleServerSubscribed(connection, push);
      } else if (source === connection) {
        apply(push);
        if (joining?.seam && jumped(cursor, joining.seam.subscribed).gaps.length === 0) closeSeam();
      } else if (joining?.connection === connection) {
        if (joining.seam) {
          if (joining.seam.held.push(push) > MAX_HELD) closeSeam();
        } else if (push.type === 'unsubscribed') apply(push);
      }
    },
  };
  return link;
};
