// Sends the clients of a deaf node to nodes that hear, once per outage.
import type { ControlBus, Json } from '../../broker/control.ts';
import type { Logger } from '../observability/logger.ts';
import type { Connection } from './connection.ts';
import { visitInSlices } from './slices.ts';
import { spreadMove } from './spread.ts';

/** Connections told between two turns of the event loop. */
const PACE = { size: 500, pauseMs: 0 } as const;

export interface MovingOptions {
  readonly nodeName: string;
  readonly control: Pick<ControlBus, 'nodes'>;
  readonly connections: Iterable<Pick<Connection, 'state' | 'send'>> & { readonly size: number };
  /** Undefined while the node hears. */
  readonly deafForMs: () => number | undefined;
  readonly deafMoveAfterMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Moving {
  /** Repeated about once a second. */
  look(): void;
}

const isReady = (info: Json): boolean =>
  typeof info === 'object' && info !== null && !Array.isArray(info) && (info as { ready?: Json }).ready === true;

export const createMoving = (options: MovingOptions): Moving => {
  const { nodeName, control, connections, deafForMs, deafMoveAfterMs, random, logger, onError } = options;
  let stage: 'waiting' | 'asking' | 'moved' = 'waiting';

  const move = (): void => {
    const count = connections.size;
    logger.warn({ event: 'move_clients', connections: count, reason: 'deaf' }, 'clients move to nodes that hear');
    void visitInSlices(connections, PACE, (connection) => {
      if (connection.state !== 'connected') return;
      connection.send({ type: 'reconnect', ...spreadMove(count, random()), reason: 'deaf' });
    });
  };

  const ask = async (): Promise<void> => {
    const nodes = await control.nodes();
    const othersHear = nodes.some(({ node, info }) => node !== nodeName && isReady(info));
    // Meanwhile the node may hear again.
    if (!othersHear || deafForMs() === undefined) {
      stage = 'waiting';
      return;
    }
    stage = 'moved';
    move();
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
