// One connection to Redis that is either up or not, notices a silent peer and comes back by itself.
//
// Nothing is queued while it is down and nothing is sent twice: commands reject at once, and those in flight reject when
// the connection is lost. What to do about it is the caller's decision.
import { Redis, ReplyError } from 'ioredis';
import { driverError } from './driver-error.ts';
import type { ReconnectSchedule } from './reconnect-schedule.ts';

/** Between two looks at the connection; each sends a ping when nothing arrived since the last one. */
const PING_INTERVAL_MS = 500;
/** Looks without a byte received after which the connection counts as dead (2 s). Counted, not timed: a stalled event loop proves nothing. */
const SILENT_LOOKS = 4;
const CONNECT_TIMEOUT_MS = 3_000;
/** Below the silence limit, since ioredis asks nothing in between while the server loads its data. */
const LOADING_RETRY_MS = 1_000;

/** Begin of the error with which ioredis meets a reply to no command. */
const SURPLUS_REPLY = 'Command queue state error';

export interface LinkOptions {
  readonly url: string;
  /** Names the connection in errors and in CLIENT LIST. */
  readonly name: string;
  readonly reconnectDelayMs: ReconnectSchedule;
  /** False where INFO may need a login that comes later; true when absent. */
  readonly readyCheck?: boolean;
  /** Runs on every new connection before it counts as up; when it rejects, the connection is given up. */
  prepare(redis: Redis): Promise<void>;
  onUp(): void;
  /** Fired once when a link that was up is lost; never by `close`. */
  onDown(reason: string): void;
  /** Errors are cleaned (see driver-error.ts). */
  onError(error: Error, stage: string): void;
}

export interface Link {
  readonly redis: Redis;
  isUp(): boolean;
  connect(): void;
  /** Resolves when the peer has answered once more; rejects when the connection is lost before. */
  confirm(): Promise<void>;
  /** Gives the current connection up, without waiting for the peer. */
  reset(reason: string): void;
  close(): void;
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

export const createLink = (options: LinkOptions): Link => {
  const { name } = options;
  let state: 'down' | 'preparing' | 'up' | 'closed' = 'down';
  // Counts connections, so that work begun on a former one is recognised.
  let generation = 0;
  let lossReason: string | undefined;
  let silentLooks = 0;
  let watch: NodeJS.Timeout | undefined;

  const redis = new Redis(options.url, {
    lazyConnect: true,
    connectionName: `weir-${name}`,
    enableOfflineQueue: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxLoadingRetryTime: LOADING_RETRY_MS,
    disconnectTimeout: PING_INTERVAL_MS,
    enableReadyCheck: options.readyCheck ?? true,
    keepAlive: 10_000,
    retryStrategy: options.reconnectDelayMs,
  });

  const lose = (reason: string): void => {
    generation += 1;
    const wasUp = state === 'up';
    if (state !== 'closed') state = 'down';
    if (wasUp) options.onDown(lossReason ?? reason);
    lossReason = undefined;
  };

  const reset = (reason: string): void => {
    if (state === 'closed') return;
    lossReason = reason;
    lose(reason);
    // Not `disconnect`: that waits for a peer which may never answer. ioredis reconnects on the close that follows.
    redis.stream.destroy();
  };

  const look = (): void => {
    silentLooks += 1;
    if (silentLooks > SILENT_LOOKS) {
      silentLooks = 0;
      const error = new Error(`no answer for ${SILENT_LOOKS * PING_INTERVAL_MS} ms`);
      options.onError(error, `redis.${name}.silent`);
      reset(error.message);
    } else if (silentLooks > 1 && state === 'up') {
      redis.ping().catch(() => undefined);
    }
  };

  redis.on('connect', () => {
    silentLooks = 0;
    redis.stream.on('data', () => (silentLooks = 0));
    clearInterval(watch);
    watch = setInterval(look, PING_INTERVAL_MS);
  });

  redis.on('ready', () => {
    if (state === 'closed') return;
    generation += 1;
    const mine = generation;
    state = 'preparing';
    options.prepare(redis).then(
      () => {
        if (mine !== generation || state !== 'preparing') return;
        state = 'up';
        options.onUp();
      },
      (error: unknown) => {
        if (mine !== generation || state !== 'preparing') return;
        options.onError(driverError(error), `redis.${name}.prepare`);
        reset('preparation failed');
      },
    );
  });

  redis.on('close', () => {
    clearInterval(watch);
    lose('connection closed');
  });

  redis.on('error', (thrown: Error) => {
    // ioredis takes the notice that a slot moved away (an unasked SUNSUBSCRIBE) for an answer; nothing later can be trusted.
    if (thrown.message.startsWith(SURPLUS_REPLY)) {
      if (state === 'up' || state === 'preparing') reset('the server ended subscriptions that were not given up');
      return;
    }
    const error = driverError(thrown);
    if (state === 'up') lossReason = error.message;
    if (state !== 'closed') options.onError(error, `redis.${name}.connect`);
  });

  return {
    redis,
    isUp: () => state === 'up',
    connect() {
      // A first failure is reported by the error event, and retried like any other.
      redis.connect().catch(() => undefined);
    },
    async confirm() {
      try {
        await redis.ping();
      } catch (error) {
        // A refusal (a user without the right to ping) is an answer too.
        if (!(error instanceof ReplyError)) throw driverError(error);
      }
    },
    reset,
    close() {
      if (state === 'closed') return;
      state = 'closed';
      generation += 1;
      clearInterval(watch);
      redis.disconnect();
    },
  };
};
