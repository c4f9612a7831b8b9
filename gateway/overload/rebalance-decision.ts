// Which node has too many connections, and how fast it may ask some to leave. Pure.
//
// Every node decides for itself from the same announcements: one above the mean asks its surplus over the mean, never more. What
// all ask together is what those below the mean lack, so nobody is pushed over the mean, and nobody falls below it.
import type { NodeLoad } from './cluster-load.ts';

/** A deviation from the mean at which moving begins: below it, coming and going does as much. */
const BEGINS = { share: 0.08, connections: 5 } as const;
/** One at which it ends. Far below the other, so that a small change does not begin it anew. */
const ENDS = { share: 0.02, connections: 1 } as const;
/** Part of what the emptier nodes admit that movers may use: fresh clients go to the same nodes. */
const SHARE_OF_ADMISSION = 0.5;

export type BalanceStage = 'balanced' | 'moving';

export interface BalanceInput {
  /** Ready nodes. */
  readonly nodes: readonly NodeLoad[];
  readonly self: string;
  readonly stage: BalanceStage;
  /** Bound of this node, connections per second. */
  readonly movesPerSecond: number;
}

export interface BalanceDecision {
  readonly stage: BalanceStage;
  /** Connections of this node that should be elsewhere. */
  readonly surplus: number;
  /** At most so many of them a second; above 0 when there is a surplus. */
  readonly perSecond: number;
}

const balanced: BalanceDecision = { stage: 'balanced', surplus: 0, perSecond: 0 };

export const decideBalance = ({ nodes, self, stage, movesPerSecond }: BalanceInput): BalanceDecision => {
  const counts = nodes.map(({ connections }) => connections);
  const own = nodes.find(({ node }) => node === self)?.connections;
  // A node that does not say how many it has would be taken for an empty one.
  if (own === undefined || nodes.length < 2 || !counts.every((count) => count !== undefined)) return balanced;
  const mean = counts.reduce((sum, count) => sum + count, 0) / nodes.length;
  const deviation = Math.max(...counts.map((count) => Math.abs(count - mean)));
  const bound = stage === 'balanced' ? BEGINS : ENDS;
  if (deviation <= Math.max(bound.share * mean, bound.connections)) return balanced;
  const surplus = Math.floor(own - mean);
  if (surplus < 1) return { stage: 'moving', surplus: 0, perSecond: 0 };
  const surpluses = counts.reduce((sum, count) => sum + Math.max(0, Math.floor(count - mean)), 0);
  const admission = nodes.reduce(
    (sum, node) => sum + ((node.connections ?? 0) < mean ? node.admissionPerSecond * SHARE_OF_ADMISSION : 0),
    0,
  );
  return { stage: 'moving', surplus, perSecond: Math.min(movesPerSecond, admission * (surplus / surpluses)) };
};
