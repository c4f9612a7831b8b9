// What this node announces to balancers and to the other nodes, and the port on which it answers HAProxy itself.
import type { NodeInfo } from '../broker/node-info.ts';
import type { Health } from '../protocol/http.ts';
import { advertisedAddress } from './advertised-address.ts';
import type { Config } from './config.ts';
import { type AgentCheck, type AgentCheckState, openAgentCheck, weightByRoom } from './overload/agent-check.ts';

export interface AnnouncementOptions {
  readonly config: Config;
  readonly version: string;
  readonly health: () => Health;
  readonly connections: () => number;
  /** By load: 1–100, percent of a full share of new connections. */
  readonly weight: () => number;
}

export interface Announcement {
  /** Opens the port of the agent-check where one is configured. Rejects when it cannot be had. */
  open(ports: { readonly port: number; readonly internalPort: number | undefined }): Promise<void>;
  /** Undefined until `open` has resolved. */
  info(): NodeInfo | undefined;
  close(): void;
}

/** `down` has HAProxy cut what is connected, so a node that serves anybody only says that it takes no more. */
const agentState = ({ status, reasons }: Health, connections: number): AgentCheckState => {
  if (status === 'not_ready' && connections === 0) return { kind: 'not_ready', reason: reasons.join(', ') };
  return { kind: status === 'ready' ? 'ready' : 'draining' };
};

export const createAnnouncement = (options: AnnouncementOptions): Announcement => {
  const { config, version, health, connections } = options;
  const weight = (): number => Math.min(options.weight(), weightByRoom(connections(), config.maxConnections));
  let agentCheck: AgentCheck | undefined;
  let reach: Pick<NodeInfo, 'address' | 'port' | 'internalPort' | 'agentCheckPort'> | undefined;

  return {
    async open({ port, internalPort }) {
      const { host, advertiseAddress, agentCheckPort } = config;
      // The configuration was refused when there is none.
      const address = advertisedAddress(advertiseAddress, host) ?? host;
      if (agentCheckPort !== undefined) {
        const state = () => agentState(health(), connections());
        agentCheck = await openAgentCheck({ host, port: agentCheckPort, state, weight });
      }
      reach = {
        address,
        port,
        ...(internalPort === undefined ? {} : { internalPort }),
        ...(agentCheck === undefined ? {} : { agentCheckPort: agentCheck.port }),
      };
    },
    info() {
      if (reach === undefined) return undefined;
      const { status } = health();
      const state = status === 'ready' || status === 'draining' ? status : 'not_ready';
      return {
        version,
        state,
        ready: state === 'ready',
        ...reach,
        weight: weight(),
        admissionPerSecond: Math.min(config.admissionPerSecond, Math.max(0, config.maxConnections - connections())),
        connections: connections(),
      };
    },
    close() {
      void agentCheck?.close();
    },
  };
};
