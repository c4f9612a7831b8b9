// Sends the clients of a deaf node to nodes that hear, once per outage.
import type { ControlBus } from '../../broker/control.ts';
import type { Logger } from '../observability/logger.ts';
import { visitInSlices } from '../session/slices.ts';
import { admissionOf, clusterLoadOf, type NodeLoad, survivorsOf } from './cluster-load.ts';
import type { Departures, Movable } from './departures.ts';
import { timesAt, windowFor } from './spread.ts';

/** Connections told between two turns of the event loop. */
const PACE = { size: 500, pauseMs: 0 } as const;

export interface DeafMovingOptions {
  readonly nodeName: string;
  readonly control: Pick<ControlBus, 'nodes'>;
  readonly connections: Iterable<Movable> & { readonly size: number };
  readonly departures: Pick<Departures, 'ask'>;
  /** Undefined while the node hears. */
  readonly deafForMs: () => number | undefined;
  readonly settings: { readonly deafMoveAfterMs: number; readonly moveTimeoutMs: number };
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface DeafMoving {
  /** Repeated about once a second. */
  look(): void;
}

export const createDeafMoving = (options: DeafMovingOptions): DeafMoving => {
  const { nodeName, control, connections, departures, deafForMs, settings, random, logger, onError } = options;
  const { deafMoveAfterMs, moveTimeoutMs } = settings;
  let stage: 'waiting' | 'asking' | 'moved' = 'waiting';

  const move = (others: readonly NodeLoad[]): void => {
    const count = connections.size;
    const spread = { count, noticeMs: 0, windowMs: windowFor(count, admissionOf(others)), moveTimeoutMs };
    logger.warn({ event: 'move_clients', connections: count, reason: 'deaf' }, 'clients move to nodes that hear');
    let index = 0;
    void visitInSlices(connections, PACE, (connection) => {
      const times = timesAt(index++, spread, random());
      if (connection.state === 'connected') departures.ask(connection, times, 'deaf');
    });
  };

  const ask = async (): Promise<void> => {
    const others = survivorsOf(clusterLoadOf(await control.nodes()), nodeName);
    // Meanwhile the node may hear again.
    if (others.length === 0 || deafForMs() === undefined) {
      stage = 'waiting';
      return;
    }
    stage = 'moved';
    move(others);
  };

  return {
    look() {
      const deafMs = deafForMs();
      if (deafMs === undefined) {
        if (stage === 'moved') stage = 'waiting';
        return;
      }
      if (deafMs < deafMoveAfterMs || stage !== 'waiting') return;
      stage = 'asking';
      ask().catch((error: unknown) => {
        stage = 'waiting';
        onError(error as Error, { stage: 'move' });
      });
    },
  };
};
