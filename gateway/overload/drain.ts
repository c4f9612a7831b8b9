// Empties a node: clients move to the nodes that stay, at the pace those admit; who does not is closed, and nobody waits for ever.
import { closeCodes } from '../../protocol/codes.ts';
import type { ControlBus } from '../../broker/control.ts';
import type { DrainAnswer } from '../../protocol/http.ts';
import type { Clock } from '../clock.ts';
import type { Logger } from '../observability/logger.ts';
import { closingPace, visitInSlices } from '../session/slices.ts';
import { admissionOf, clusterLoadOf, type NodeLoad, survivorsOf } from './cluster-load.ts';
import type { Departures, Movable } from './departures.ts';
import { type Spread, timesAt, windowFor } from './spread.ts';

/** Connections told between two turns of the event loop. */
const TELL_PACE = { size: 500, pauseMs: 0 } as const;
/** Between two looks at who is left and who came meanwhile, ms. */
const LOOK_MS = 100;
/** Between two questions whether anybody is left to take the clients, ms. */
const ASK_MS = 1000;
/** Longest wait for the answer to the first of them: a drain must not hang on the broker, ms. */
const ASK_TIMEOUT_MS = 500;
/** Kept back from the budget for closing who has not moved, and longest part of it for the notice and for a move. */
const CLOSING_SHARE = 0.1;
const NOTICE_SHARE = 0.25;
const MOVE_SHARE = 0.5;
/** After the last one's time, until what ends the overdue ones has done so, ms. */
const OVERDUE_MS = 500;
/** Before anybody whose node left without a successor comes back, ms: it takes about that long to start one. */
const RETURN_AFTER_MS = 1000;

export interface DrainPlan {
  readonly connections: number;
  /** Ready nodes that take them. */
  readonly survivors: readonly string[];
  /** Of which clients are asked to move, on average; 0 without survivors. */
  readonly movesPerSecond: number;
  readonly spread: Spread;
}

export interface PlanInput {
  readonly connections: number;
  readonly survivors: readonly NodeLoad[];
  /** Nodes that drain at the same time, this one included. */
  readonly draining: number;
  readonly budgetMs: number;
  readonly noticeMs: number;
  readonly moveTimeoutMs: number;
}

/** Pure. Everybody's latest moment lies within the budget, also when the survivors would rather have more time. */
export const planDrain = (input: PlanInput): DrainPlan => {
  const { connections, survivors, budgetMs } = input;
  const nobody = { connections, survivors: [], movesPerSecond: 0 };
  if (survivors.length === 0)
    return { ...nobody, spread: { count: connections, noticeMs: 0, windowMs: 0, moveTimeoutMs: 0 } };
  const usableMs = budgetMs * (1 - CLOSING_SHARE);
  const noticeMs = Math.min(input.noticeMs, usableMs * NOTICE_SHARE);
  const moveTimeoutMs = Math.min(input.moveTimeoutMs, usableMs * MOVE_SHARE);
  const perSecond = admissionOf(survivors) / Math.max(1, input.draining);
  const windowMs = windowFor(connections, perSecond, usableMs - noticeMs - moveTimeoutMs);
  return {
    connections,
    survivors: survivors.map(({ node }) => node),
    movesPerSecond: windowMs === 0 ? 0 : Math.round((connections / windowMs) * 1000),
    spread: { count: connections, noticeMs, windowMs, moveTimeoutMs },
  };
};

export interface DrainOptions {
  readonly nodeName: string;
  readonly control: Pick<ControlBus, 'nodes'>;
  readonly connections: Iterable<Movable> & { readonly size: number };
  readonly departures: Pick<Departures, 'ask'>;
  readonly settings: {
    readonly drainNoticeMs: number;
    readonly moveTimeoutMs: number;
    readonly admissionPerSecond: number;
  };
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Drain {
  /** Asks who stays and decides. Never rejects; a cluster that cannot be asked has no survivors. */
  plan(budgetMs: number): Promise<DrainPlan>;
  /** Carries it out; resolves when no connection is left, at the end of the budget at the latest. */
  run(plan: DrainPlan, budgetMs: number): Promise<void>;
  /** Whether new connections are still taken, because the load balancer may not have noticed yet. */
  readonly isNoticing: boolean;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const createDrain = (options: DrainOptions): Drain => {
  const { nodeName, control, connections, departures, settings, random, clock, logger, onError } = options;
  let noticeEndsAtMs = -Infinity;

  const ask = async () => {
    const cluster = clusterLoadOf(await control.nodes());
    return { survivors: survivorsOf(cluster, nodeName), draining: cluster.draining };
  };

  /** Undefined when the cluster cannot be asked. */
  const askInTime = async (): Promise<Awaited<ReturnType<typeof ask>> | undefined> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), ASK_TIMEOUT_MS);
    });
    const answer = ask().catch((error: unknown) => {
      onError(error as Error, { stage: 'drain' });
      return undefined;
    });
    return Promise.race([answer, late]).finally(() => clearTimeout(timer));
  };

  const tellAll = (plan: DrainPlan): Promise<void> => {
    let index = 0;
    return visitInSlices(connections, TELL_PACE, (connection) => {
      const times = timesAt(index++, plan.spread, random());
      if (connection.state === 'connected') departures.ask(connection, times, 'drain');
    });
  };

  /** Those that connected since are told as well: soon, since they are few. */
  const tellNewcomers = ({ spread: { moveTimeoutMs } }: DrainPlan): void => {
    const noticeMs = Math.max(0, noticeEndsAtMs - clock.monotonicMs());
    const spread: Spread = { count: 1, noticeMs, windowMs: windowFor(1, Infinity), moveTimeoutMs };
    for (const connection of connections) {
      if (connection.state !== 'connected' || connection.departure?.reason === 'drain') continue;
      departures.ask(connection, timesAt(0, spread, random()), 'drain');
    }
  };

  /** Resolves when all are gone, had their time, or have nowhere to go any more. */
  const moveAll = async (plan: DrainPlan, endsAtMs: number): Promise<'moved' | 'alone'> => {
    noticeEndsAtMs = clock.monotonicMs() + plan.spread.noticeMs;
    await tellAll(plan);
    const known = { survivors: plan.survivors.length, askAtMs: clock.monotonicMs() + ASK_MS };
    for (;;) {
      await pause(LOOK_MS);
      const nowMs = clock.monotonicMs();
      if (nowMs >= endsAtMs || (connections.size === 0 && nowMs >= noticeEndsAtMs)) return 'moved';
      if (known.survivors === 0) return 'alone';
      tellNewcomers(plan);
      if (nowMs < known.askAtMs) continue;
      known.askAtMs = Infinity;
      void askInTime().then((cluster) => {
        known.survivors = cluster?.survivors.length ?? known.survivors;
        known.askAtMs = clock.monotonicMs() + ASK_MS;
      });
    }
  };

  /** Where nobody else takes them, each with a time to come back, which spread over what a node like this one admits. */
  const closeRest = (budgetMs: number, how: 'moved' | 'alone'): Promise<void> => {
    const count = connections.size;
    const { code, name } = closeCodes.restart;
    if (count > 0)
      logger.info({ event: 'drain_close', connections: count, how }, 'closing the connections that are left');
    const spread = {
      count,
      noticeMs: RETURN_AFTER_MS,
      windowMs: windowFor(count, settings.admissionPerSecond),
      moveTimeoutMs: 0,
    };
    let index = 0;
    return visitInSlices(connections, closingPace(count, budgetMs), (connection) => {
      const { afterMs } = timesAt(index++, spread, random());
      connection.close(code, how === 'moved' ? name : `retryAfterMs=${afterMs}`);
    });
  };

  return {
    async plan(budgetMs) {
      noticeEndsAtMs = clock.monotonicMs() + settings.drainNoticeMs;
      const { survivors, draining } = (await askInTime()) ?? { survivors: [], draining: 1 };
      const { drainNoticeMs: noticeMs, moveTimeoutMs } = settings;
      return planDrain({ connections: connections.size, survivors, draining, budgetMs, noticeMs, moveTimeoutMs });
    },
    async run(plan, budgetMs) {
      const startMs = clock.monotonicMs();
      const { noticeMs, windowMs, moveTimeoutMs } = plan.spread;
      const movesMs = Math.min(noticeMs + windowMs + moveTimeoutMs + OVERDUE_MS, budgetMs * (1 - CLOSING_SHARE));
      const how = plan.survivors.length === 0 ? 'alone' : await moveAll(plan, startMs + movesMs);
      noticeEndsAtMs = -Infinity;
      await closeRest(Math.max(0, startMs + budgetMs - clock.monotonicMs()), how);
    },
    get isNoticing() {
      return clock.monotonicMs() < noticeEndsAtMs;
    },
  };
};

/** What a plan says to whoever asked for the drain. */
export const announcedOf = (plan: DrainPlan): Omit<DrainAnswer, 'node' | 'timeoutMs'> => {
  const { noticeMs: firstMoveMs, windowMs, moveTimeoutMs } = plan.spread;
  const lastMoveMs = firstMoveMs + windowMs + moveTimeoutMs;
  const { connections, survivors, movesPerSecond } = plan;
  return { connections, survivors: [...survivors], movesPerSecond, firstMoveMs, lastMoveMs };
};
