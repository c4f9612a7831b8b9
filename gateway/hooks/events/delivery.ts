// Brings the events of one lane to the application: the oldest first, one call at a time, again and again until it has them.
import type { LifecycleEvent, LifecycleLog, LifecycleTerms, TakeRequest } from '../../../broker/lifecycle.ts';

/** The application, as events are brought to it. */
export interface EventSink {
  /** Rejects when it did not take them. */
  send(events: readonly LifecycleEvent[]): Promise<void>;
  /** It failed so often in a row that nothing is sent for a while. */
  readonly isOpen: boolean;
}

export interface DeliveryOptions {
  readonly log: Pick<LifecycleLog, 'take' | 'acknowledge'>;
  readonly lane: number;
  /** See `TakeRequest.holder`. */
  readonly holder: string;
  readonly terms: LifecycleTerms;
  readonly sink: EventSink;
  /** Longest time of one attempt, ms. */
  readonly attemptMs: number;
  /** How long the lane is left to other nodes when the application cannot be reached from here, ms. */
  readonly restMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly onError: (error: unknown) => void;
}

export interface Delivery {
  start(): void;
  /** There is something new in the lane. */
  wake(): void;
  /** The newest look at the lane, whoever holds it. */
  readonly backlog: number;
  readonly oldestMs: number;
  /** Sends what is there, if this node holds the lane and the application takes it, then leaves the lane to others. */
  close(): Promise<void>;
}

/** Events in one call. */
const BATCH_EVENTS = 200;
/** Calls begin at least so far apart, ms, unless there is enough for a whole one: what happens meanwhile goes together. */
const GATHER_MS = 100;
/** Between two looks at a lane that is empty, ms: as its holder, and as one of those that would take over. */
const HELD_POLL_MS = 250;
const POLL_MS = 1000;
const RETRY_MS = 500;
/** A holder that is silent for so long beyond two attempts is replaced, ms. */
const HOLD_MARGIN_MS = 5000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

export const createDelivery = (options: DeliveryOptions): Delivery => {
  const { log, lane, holder, terms, sink, attemptMs, restMs, random, onError } = options;
  // An attempt may have to wait for its turn as long as it may take.
  const hold: TakeRequest['wish'] = { kind: 'hold', holdMs: 2 * attemptMs + HOLD_MARGIN_MS };
  let failures = 0;
  let sentAtMs = -Infinity;
  /** Left to other nodes until then, monotonic ms. */
  let restsUntilMs = -Infinity;
  let isHeld = false;
  let backlog = 0;
  let oldestMs = 0;
  let isClosed = false;
  let isAwake = false;
  let rouse: (() => void) | undefined;
  let ended: Promise<void> = Promise.resolve();

  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => rouse?.(), ms);
      rouse = () => {
        clearTimeout(timer);
        rouse = undefined;
        resolve();
      };
    });

  const wish = (): TakeRequest['wish'] =>
    performance.now() < restsUntilMs ? { kind: isHeld ? 'leave' : 'look' } : hold;

  const send = async (events: readonly LifecycleEvent[]): Promise<boolean> => {
    sentAtMs = performance.now();
    try {
      await sink.send(events);
    } catch {
      // The calls are counted and timed where they are made.
      failures += 1;
      if (sink.isOpen) restsUntilMs = performance.now() + restMs;
      return false;
    }
    failures = 0;
    return true;
  };

  /** Returns the pause before the next look, ms. */
  const look = async (): Promise<number> => {
    const taken = await log.take({ lane, holder, wish: wish(), limit: BATCH_EVENTS }, terms);
    ({ isHeld, backlog, oldestMs } = taken);
    if (taken.events.length === 0) return taken.isUnfinished ? 0 : isHeld ? HELD_POLL_MS : POLL_MS;
    if (!(await send(taken.events))) {
      const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
      return pauseMs * (0.5 + random() / 2);
    }
    await log.acknowledge(
      lane,
      taken.events.map(({ position }) => position),
    );
    backlog = Math.max(0, backlog - taken.events.length);
    if (backlog === 0) oldestMs = 0;
    return taken.isUnfinished || backlog > 0 ? 0 : HELD_POLL_MS;
  };

  // Asked anew each time: both change while this waits.
  const isOver = (): boolean => isClosed;
  const hasMore = (): boolean => isHeld && backlog > 0 && failures === 0;

  const leave = async (): Promise<void> => {
    if (performance.now() < restsUntilMs) return;
    try {
      do await look();
      while (hasMore());
      await log.take({ lane, holder, wish: { kind: 'leave' }, limit: 0 }, terms);
    } catch (error) {
      // Somebody else takes over when the time of this node is over.
      onError(error);
    }
  };

  const run = async (): Promise<void> => {
    // Nodes that start together do not ask in the same instant.
    let pauseMs = random() * HELD_POLL_MS;
    while (!isOver()) {
      if (!isAwake) await sleep(pauseMs);
      const gatherMs = sentAtMs + GATHER_MS - performance.now();
      if (gatherMs > 0 && backlog < BATCH_EVENTS && !isOver()) await sleep(gatherMs);
      if (isOver()) break;
      isAwake = false;
      pauseMs = await look().catch((error: unknown) => {
        onError(error);
        return RETRY_MS;
      });
    }
    await leave();
  };

  return {
    start() {
      ended = run();
    },
    wake() {
      // An application that did not take the last ones gets its pause; nodes that do not hold the lane look by and by.
      if (!isHeld || failures > 0 || isAwake) return;
      isAwake = true;
      if (performance.now() - sentAtMs >= GATHER_MS) rouse?.();
    },
    get backlog() {
      return backlog;
    },
    get oldestMs() {
      return oldestMs;
    },
    close() {
      isClosed = true;
      rouse?.();
      return ended;
    },
  };
};
