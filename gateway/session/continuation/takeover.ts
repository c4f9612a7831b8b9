// Closes the connection that held a session until another one claimed it, on whatever node it is.
import type { ControlBus, Json } from '../../../broker/control.ts';
import { BrokerUnavailableError } from '../../../broker/broker.ts';
import type { SessionHolder } from '../../../broker/sessions.ts';

const KIND = 'session.takeover';
/** Takeovers of this time go as one request: after the loss of a node there are thousands. ms */
const GATHER_MS = 20;
/** Connections named in one request. */
const MAX_PER_REQUEST = 500;

export interface TakeoverOptions {
  readonly control: ControlBus;
  readonly nodeName: string;
  readonly timeoutMs: number;
  /** Ends a connection of this node, if it is still there. */
  readonly close: (connection: string) => void;
  readonly onError: (error: Error, context: { readonly stage: string }) => void;
}

export interface Takeover {
  /** The connection is no longer the holder. A node that does not hear it learns it from its next save. */
  end(holder: SessionHolder): void;
  close(): void;
}

const connectionsFor = (node: string, payload: Json): readonly string[] =>
  Array.isArray(payload)
    ? (payload as unknown as SessionHolder[])
        .filter((holder) => holder.node === node)
        .map(({ connection }) => connection)
    : [];

export const createTakeover = ({ control, nodeName, timeoutMs, close, onError }: TakeoverOptions): Takeover => {
  let gathered: SessionHolder[] = [];
  let timer: NodeJS.Timeout | undefined;

  control.handle(KIND, (payload) => {
    for (const connection of connectionsFor(nodeName, payload)) close(connection);
    return null;
  });

  const tell = (): void => {
    timer = undefined;
    const holders = gathered;
    gathered = [];
    for (let at = 0; at < holders.length; at += MAX_PER_REQUEST) {
      const part = holders.slice(at, at + MAX_PER_REQUEST).map(({ node, connection }) => ({ node, connection }));
      control.request(KIND, part, timeoutMs).catch((error: unknown) => {
        if (!(error instanceof BrokerUnavailableError)) onError(error as Error, { stage: KIND });
      });
    }
  };

  return {
    end(holder) {
      if (holder.node === nodeName) {
        close(holder.connection);
        return;
      }
      gathered.push(holder);
      timer ??= setTimeout(tell, GATHER_MS);
    },
    close() {
      clearTimeout(timer);
    },
  };
};
