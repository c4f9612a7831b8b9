// Asks the surplus connections of this node to move, in batches, and sees what became of one before it begins the next.
import type { ControlBus } from '../../broker/control.ts';
import type { Clock } from '../clock.ts';
import type { Logger } from '../observability/logger.ts';
import { clusterLoadOf } from './cluster-load.ts';
import type { Departures, Movable } from './departures.ts';
import { type BalanceStage, decideBalance } from './rebalance-decision.ts';
import { timesAt } from './spread.ts';

/** Longest time over which one batch spreads, ms. */
const BATCH_MS = 10_000;
/**
 * Between two looks at the cluster, and after a batch until every node has announced what it has now. Longer than a balancer needs to
 * know a node that is new: its agent looks at the registry twice a second, and its health check as often. Ms.
 */
const SETTLE_MS = 5000;
/**
 * So long before a decision it looks who is there, and all of them must have announced themselves since, which they do every second:
 * a killed node keeps its lease for some more, and would be taken for one that has room. Ms.
 */
const ALIVE_MS = 2000;
/** A batch that took away less than this part of itself was in vain: the balancer sends them back, or they do not move. */
const WORTHWHILE = 0.25;
/** Pause after one in vain, doubled after each further one, ms. */
const VAIN_PAUSE_MS = { first: 60_000, longest: 3_600_000 } as const;

export interface RebalanceOptions {
  readonly nodeName: string;
  readonly control: Pick<ControlBus, 'nodes'>;
  /** Oldest first. */
  readonly connections: Iterable<Movable>;
  readonly departures: Pick<Departures, 'ask' | 'count'>;
  readonly settings: { readonly movesPerSecond: number; readonly moveTimeoutMs: number };
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Rebalance {
  /** Repeated about once a second while the node serves. */
  look(): void;
}

export const createRebalance = (options: RebalanceOptions): Rebalance => {
  const { nodeName, control, connections, departures, settings, random, clock, logger, onError } = options;
  let stage: BalanceStage = 'balanced';
  let isAsking = false;
  let nextAtMs = clock.monotonicMs() + SETTLE_MS;
  let last: { surplus: number; asked: number } | undefined;
  let vainPauseMs = 0;
  /** When each node had announced itself at the look before the decision; undefined: not looked yet. */
  let seen: ReadonlyMap<string, number> | undefined;
  /**
   * Nodes that were ready at the last decision. One that is not among them may be unknown to the balancer yet, which would send those who
   * move for its sake back to the others.
   */
  let known: ReadonlySet<string> = new Set();
  /** Asked once and still here: it will not move, or came back to this node and is a new connection. */
  const asked = new WeakSet<Movable>();

  const candidates = (count: number): Movable[] => {
    const found: Movable[] = [];
    for (const connection of connections) {
      if (found.length === count) break;
      const isFree = connection.state === 'connected' && connection.departure === null && !asked.has(connection);
      if (isFree) found.push(connection);
    }
    return found;
  };

  const isInVain = (surplus: number): boolean => {
    const before = last;
    last = undefined;
    return before !== undefined && before.surplus - surplus < before.asked * WORTHWHILE;
  };

  const begin = (surplus: number, perSecond: number): void => {
    const batch = candidates(Math.min(surplus, Math.max(1, Math.floor((perSecond * BATCH_MS) / 1000))));
    if (batch.length === 0) return;
    const windowMs = (batch.length / perSecond) * 1000;
    const spread = { count: batch.length, noticeMs: 0, windowMs, moveTimeoutMs: settings.moveTimeoutMs };
    batch.forEach((connection, index) => {
      asked.add(connection);
      departures.ask(connection, timesAt(index, spread, random()), 'rebalance');
    });
    last = { surplus, asked: batch.length };
    nextAtMs = clock.monotonicMs() + windowMs + SETTLE_MS;
    logger.info({ event: 'rebalance', surplus, asked: batch.length, windowMs }, 'connections asked to move');
  };

  const lookAround = async (): Promise<void> => {
    seen = new Map((await control.nodes()).map(({ node, announcedAtMs }) => [node, announcedAtMs]));
  };

  const decide = async (announced: ReadonlyMap<string, number>): Promise<void> => {
    const nodes = await control.nodes();
    if (nodes.some(({ node, announcedAtMs }) => announced.get(node) === announcedAtMs)) return;
    const { ready, draining } = clusterLoadOf(nodes);
    const before = known;
    known = new Set(ready.map(({ node }) => node));
    if (ready.some(({ node }) => !before.has(node))) return;
    // Those a draining node sends away change every count: wait until they have settled.
    if (draining > 0) return;
    const decision = decideBalance({ nodes: ready, self: nodeName, stage, movesPerSecond: settings.movesPerSecond });
    stage = decision.stage;
    if (isInVain(decision.surplus)) {
      vainPauseMs = Math.min(VAIN_PAUSE_MS.longest, Math.max(VAIN_PAUSE_MS.first, 2 * vainPauseMs));
      nextAtMs = clock.monotonicMs() + vainPauseMs;
      return;
    }
    if (decision.surplus === 0) vainPauseMs = 0;
    else begin(decision.surplus, decision.perSecond);
  };

  return {
    look() {
      const nowMs = clock.monotonicMs();
      if (isAsking || nowMs < nextAtMs - (seen === undefined ? ALIVE_MS : 0) || departures.count('rebalance') > 0)
        return;
      isAsking = true;
      const before = seen;
      seen = undefined;
      nextAtMs = before === undefined ? Math.max(nextAtMs, nowMs + ALIVE_MS) : nowMs + SETTLE_MS;
      (before === undefined ? lookAround() : decide(before))
        .catch((error: unknown) => {
          nextAtMs = clock.monotonicMs() + ALIVE_MS + SETTLE_MS;
          onError(error as Error, { stage: 'rebalance' });
        })
        .finally(() => {
          isAsking = false;
        });
    },
  };
};
