// Declares what can be chosen about HAProxy, with defaults and checks.

/** `leastconn` suits long-lived sockets; `random` is the power of two choices; `source` pins a client address to a node. */
export type BalanceProfile = 'leastconn' | 'roundrobin' | 'random' | 'source';

export const BALANCE_PROFILES: readonly BalanceProfile[] = ['leastconn', 'roundrobin', 'random', 'source'];

export interface NodeAddress {
  readonly name: string;
  readonly host: string;
  /** Where clients connect. */
  readonly port: number;
  /** Where the server API, health and metrics are when the node has a second listener (`WEIR_INTERNAL_PORT`). */
  readonly internalPort?: number;
}

/** What a node says about itself besides; absent where nobody asked it. */
export interface NodeWish {
  /** `draining`: it keeps its sockets and takes no new ones. Default `ready`. */
  readonly state?: 'ready' | 'draining';
  /** Share of new sockets beside nodes at 100, 1–100. Default 100. */
  readonly weight?: number;
  /** Where it answers HAProxy's agent-check: weight and state are then left to that. */
  readonly agentCheckPort?: number;
}

/** How HAProxy learns which nodes exist. */
export type NodeSource =
  /** Empty slots, filled through the Runtime API without a reload (see membership.ts). */
  | { readonly kind: 'runtime'; readonly slots: number }
  /** Slots filled from the addresses a name server gives for one host name (compose, Kubernetes headless service). */
  | {
      readonly kind: 'dns';
      readonly slots: number;
      readonly host: string;
      readonly port: number;
      readonly internalPort?: number;
      /** `address:port` of the name server, or `resolv.conf` for the machine's own. */
      readonly nameserver: string;
      /** How long an address may be missing in answers before its slot is freed, ms. Default 10000. */
      readonly holdObsoleteMs?: number;
    }
  | { readonly kind: 'static'; readonly nodes: readonly NodeAddress[] };

export interface HaproxyOptions {
  readonly nodes: NodeSource;
  /** Path of the admin socket of the Runtime API (at most 90 characters, a limit of unix sockets). */
  readonly runtimeSocket: string;
  /** Where clients connect: `*:8080`, `127.0.0.1:8080`. */
  readonly publicBind: string;
  /** Where backends reach the server API and operators the console; keep it off the public network. */
  readonly internalBind: string;
  /** Statistics page at `/` and Prometheus metrics at `/metrics`. */
  readonly statsBind: string;
  /** Default `leastconn`. */
  readonly balance?: BalanceProfile;
  /** Path prefixes open to the public besides Weir's own, as `/app/` for a further dialect. */
  readonly extraPublicPaths?: readonly string[];
  /** Client connections in all; see `connectionLimit`. */
  readonly maxConnections: number;
  /** Connections one node may hold; further ones wait `timeout queue`, then get 503. No limit when absent. */
  readonly maxConnectionsPerNode?: number;
  /** Limits per client address. `off` where all clients share one address, as in a load test. */
  readonly perSource?: PerSourceLimits | 'off';
  /** The gateway's `WEIR_PING_INTERVAL_MS`; timeouts of silent connections are derived from it. Default 25000. */
  readonly pingIntervalMs?: number;
  /** Time over which a node that came up grows to its full share; see `slowstartMsFor`. 0 turns it off. Default 15000. */
  readonly slowstartMs?: number;
  /**
   * Asks each node for weight and state at this pace, ms. `port`: where all nodes answer (their `WEIR_AGENT_CHECK_PORT`);
   * absent with nodes of kind `runtime`, whose ports are set together with their addresses. No agent-check when absent.
   */
  readonly agentCheck?: { readonly intervalMs: number; readonly port?: number };
  /** Pause between two health checks of a node. Default 1000. */
  readonly checkIntervalMs?: number;
  /** Kernel buffers of both sides, so that a stalled client is seen by the node early. The kernel's choice when absent. */
  readonly socketBufferBytes?: number;
  /** Threads; all processors when absent. */
  readonly threads?: number;
  /** Terminates TLS on the public listener with this PEM file (certificate chain and key), and sends HSTS. */
  readonly tls?: { readonly certificateFile: string };
}

export interface PerSourceLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPer10s: number;
}

/** The two backends: sockets of clients, requests of servers. Slots have the same names in both. */
export const CLIENT_BACKEND = 'clients';
export const SERVER_BACKEND = 'servers';
/** Slots are called `node1`, `node2` … */
export const SLOT_PREFIX = 'node';
/** Where an empty slot points; nothing answers there. */
export const EMPTY_SLOT_ADDRESS = { host: '127.0.0.1', port: 1 } as const;

/** Weight of a node that takes its full share. */
export const FULL_WEIGHT = 100;

export const PUBLIC_PATHS: readonly string[] = ['/v1/ws', '/ws', '/v1/stream', '/v1/poll'];

/** An office or a mobile carrier behind one address must fit: these stop a single hostile host, not a crowd. */
export const DEFAULT_PER_SOURCE: PerSourceLimits = { maxConnections: 10_000, maxConnectionsPer10s: 5_000 };

/** Descriptors HAProxy needs besides those of connections: listeners, pollers, logs, the admin socket. */
const RESERVED_DESCRIPTORS = 200;
const MAX_SOCKET_PATH = 90;

/**
 * Connections that fit in `openFiles` descriptors (`ulimit -n`): each takes two, one towards the client and one
 * towards the node, and each slot one per backend for its health check.
 */
export function connectionLimit(openFiles: number, slots: number): number {
  return Math.max(1, Math.floor((openFiles - RESERVED_DESCRIPTORS - 2 * slots) / 2));
}

const MIN_SLOWSTART_MS = 1_000;
const MAX_SLOWSTART_MS = 3_600_000;

/**
 * `slowstart` for nodes that admit `admissionPerSecond` new connections. A node that comes up empty has the fewest
 * connections, so `leastconn` sends it everything until it has its share; grown in proportion to time, its share arrives at
 * `connectionsPerNode / slowstart` a second, which must not be more than it admits.
 */
export function slowstartMsFor(connectionsPerNode: number, admissionPerSecond: number): number {
  const ms = Math.ceil((1_000 * connectionsPerNode) / admissionPerSecond);
  return Math.min(MAX_SLOWSTART_MS, Math.max(MIN_SLOWSTART_MS, ms));
}

export class HaproxyOptionsError extends Error {
  override readonly name = 'HaproxyOptionsError';
}

/** Throws HaproxyOptionsError when an option cannot be rendered. */
export function checkHaproxyOptions(options: HaproxyOptions): void {
  const texts = {
    runtimeSocket: options.runtimeSocket,
    publicBind: options.publicBind,
    internalBind: options.internalBind,
    statsBind: options.statsBind,
    certificateFile: options.tls?.certificateFile ?? 'none',
    ...Object.fromEntries((options.extraPublicPaths ?? []).map((path, i) => [`extraPublicPaths[${i}]`, path])),
    ...nodeTexts(options.nodes),
  };
  for (const [field, text] of Object.entries(texts)) {
    // White space, quotes, comments and variables would change the meaning of the line they stand on.
    if (!/^[^\s"'\\#$]+$/.test(text))
      throw new HaproxyOptionsError(`${field}: not usable in a configuration: "${text}"`);
  }
  if (options.runtimeSocket.length > MAX_SOCKET_PATH) {
    throw new HaproxyOptionsError(`runtimeSocket: longer than ${MAX_SOCKET_PATH} characters: ${options.runtimeSocket}`);
  }
  for (const path of options.extraPublicPaths ?? []) {
    if (!path.startsWith('/') || path === '/') {
      throw new HaproxyOptionsError(`extraPublicPaths: a path below / expected, got "${path}"`);
    }
  }
  const positive = {
    maxConnections: options.maxConnections,
    maxConnectionsPerNode: options.maxConnectionsPerNode,
    checkIntervalMs: options.checkIntervalMs,
    pingIntervalMs: options.pingIntervalMs,
    socketBufferBytes: options.socketBufferBytes,
    threads: options.threads,
    'agentCheck.intervalMs': options.agentCheck?.intervalMs,
    'agentCheck.port': options.agentCheck?.port,
    slots: options.nodes.kind === 'static' ? undefined : options.nodes.slots,
    holdObsoleteMs: options.nodes.kind === 'dns' ? options.nodes.holdObsoleteMs : undefined,
  };
  for (const [field, value] of Object.entries(positive)) {
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 1)) {
      throw new HaproxyOptionsError(`${field}: a positive integer expected, got ${value}`);
    }
  }
  if (options.agentCheck !== undefined && options.agentCheck.port === undefined && options.nodes.kind !== 'runtime') {
    throw new HaproxyOptionsError('agentCheck.port: expected where the nodes are not set at run time');
  }
}

function nodeTexts(nodes: NodeSource): Record<string, string> {
  switch (nodes.kind) {
    case 'runtime':
      return {};
    case 'dns':
      return { 'nodes.host': nodes.host, 'nodes.nameserver': nodes.nameserver };
    case 'static':
      return Object.fromEntries(
        nodes.nodes.flatMap((node, i) => [
          [`nodes[${i}].name`, node.name],
          [`nodes[${i}].host`, node.host],
        ]),
      );
  }
}
