// Answers HAProxy's agent-check: one line per connection, which says what this node can take.
import { createServer, type Socket } from 'node:net';

export type AgentCheckState =
  | { readonly kind: 'ready' }
  /** Keeps its sockets, takes no new ones. */
  | { readonly kind: 'draining' }
  | { readonly kind: 'not_ready'; readonly reason: string }
  /** Out of service by decision of an operator: neither traffic nor health checks. */
  | { readonly kind: 'maintenance' };

export interface AgentCheckOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly state: () => AgentCheckState;
  /** 1–100, percent of a full share of new connections. */
  readonly weight: () => number;
}

export interface AgentCheck {
  readonly port: number;
  /** Stops listening and cuts whoever is asking. */
  close(): Promise<void>;
}

/** Balancers ask about once a second each; whoever holds connections open is none. */
const MAX_CONNECTIONS = 64;
const SOCKET_TIMEOUT_MS = 1_000;
const MAX_REASON_LENGTH = 100;

/**
 * The whole answer. `ready` clears what an earlier `drain` or `maint` left on the slot, which `up` alone does not. HAProxy
 * rounds a share of 0 % to "no traffic", so a node that takes any says at least 1 %.
 */
export const agentCheckLine = (state: AgentCheckState, weight: number): string => {
  switch (state.kind) {
    case 'ready':
      return `ready up ${Math.min(100, Math.max(1, Math.round(weight)))}%\n`;
    case 'draining':
      return 'drain\n';
    case 'not_ready':
      // Words before `#` are commands, and the line ends at the first control character.
      return `down #${state.reason.replace(/[^\x20-\x7e]/g, ' ').slice(0, MAX_REASON_LENGTH)}\n`;
    case 'maintenance':
      return 'maint\n';
  }
};

/** Below this share of use a node takes its full share. */
const FULL_SHARE_UP_TO = 0.8;
/** Small changes would only move the balance to and fro. */
const WEIGHT_STEP = 10;

/**
 * How much of its full share of new connections a node should get, percent: all of it until its connections come near their
 * limit, then less and less.
 */
export const weightByRoom = (connections: number, maxConnections: number): number => {
  const share = Math.min(1, Math.max(0, (1 - connections / maxConnections) / (1 - FULL_SHARE_UP_TO)));
  return Math.max(1, WEIGHT_STEP * Math.round((100 * share) / WEIGHT_STEP));
};

/** Rejects when the port cannot be had. */
export const openAgentCheck = ({ host, port, state, weight }: AgentCheckOptions): Promise<AgentCheck> => {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    socket.setTimeout(SOCKET_TIMEOUT_MS, () => socket.destroy());
    // What the asker may send (`agent-send`) decides nothing here.
    socket.resume();
    socket.end(agentCheckLine(state(), weight()));
  });
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.on('error', () => undefined);
      resolve({
        port: typeof address === 'object' && address !== null ? address.port : port,
        close: () =>
          new Promise((closed) => {
            server.close(() => {
              closed();
            });
            for (const socket of open) socket.destroy();
          }),
      });
    });
  });
};
