// What the node says of its own state: to health checks, to the other nodes, in its statistics.
import type { Health } from '../protocol/http.ts';
import type { BackplaneSummary } from './backplane-state.ts';
import type { OverloadState } from './overload/overload.ts';

/** Of the life of a node; only forward. */
export type Stage = 'starting' | 'serving' | 'draining' | 'stopped';

export interface ReadinessOptions {
  readonly nodeName: string;
  readonly stage: () => Stage;
  readonly summary: () => BackplaneSummary;
  readonly overload: () => OverloadState;
}

export interface Readiness {
  health(): Health;
  nodeState(): 'ready' | 'draining' | 'not_ready';
}

export const createReadiness = ({ nodeName: node, stage, summary, overload }: ReadinessOptions): Readiness => {
  const health = (): Health => {
    const now = stage();
    if (now === 'draining' || now === 'stopped') return { status: 'draining', reasons: ['draining'], node };
    const backplane = summary();
    if (backplane.state === 'degraded') return { status: 'not_ready', reasons: [backplane.reason], node };
    if (now === 'starting') return { status: 'not_ready', reasons: ['starting'], node };
    const { level, reasons } = overload();
    return { status: 'ready', reasons: [], node, overload: { level, reasons: [...reasons] } };
  };
  return {
    health,
    nodeState() {
      const { status } = health();
      return status === 'ready' || status === 'draining' ? status : 'not_ready';
    },
  };
};
