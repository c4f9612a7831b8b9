// Client of HAProxy's Runtime API over its admin socket.
import { connect, isIP } from 'node:net';

export type RuntimeApiErrorCode =
  /** No HAProxy listens on the socket. */
  | 'unreachable'
  /** HAProxy did not finish its answer in time. */
  | 'timeout'
  /** HAProxy refused the command; the message holds its words. */
  | 'refused'
  /** An argument that cannot be sent, found before sending. */
  | 'invalid';

export class RuntimeApiError extends Error {
  override readonly name = 'RuntimeApiError';
  readonly code: RuntimeApiErrorCode;
  constructor(code: RuntimeApiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What an operator decided about a slot: take traffic, take no new traffic, take none. */
export type AdminState = 'ready' | 'drain' | 'maint';

/** What HAProxy found: `draining` is a node that answers 404 to its check, or an administrative drain. */
export type OperationalState = 'down' | 'starting' | 'up' | 'draining';

export interface Slot {
  /** `node1` */
  readonly slot: string;
  readonly host: string;
  readonly port: number;
  readonly admin: AdminState;
  readonly operational: OperationalState;
  readonly weight: number;
  /** The port at which HAProxy asks the node for weight and state; `off`: not now, `none`: not in this configuration. */
  readonly agentCheck: number | 'off' | 'none';
  /** Sessions (sockets, event streams, requests) the node serves through this backend now. */
  readonly sessions: number;
}

export interface RuntimeApi {
  /** Sends one line and resolves with the whole answer, trimmed. */
  command(line: string): Promise<string>;
  /** Every slot of a backend, in configuration order. */
  slots(backend: string): Promise<Slot[]>;
  /** `host` is an IP address: the Runtime API resolves no names. */
  setAddress(backend: string, slot: string, host: string, port: number): Promise<void>;
  setCheckPort(backend: string, slot: string, port: number): Promise<void>;
  setState(backend: string, slot: string, state: AdminState): Promise<void>;
  /** Asks there for weight and state from now on; undefined: asks nobody. Only where the configuration has an agent-check. */
  setAgentCheck(backend: string, slot: string, at: { host: string; port: number } | undefined): Promise<void>;
  /** Takes a slot out of `maint`, counted as down until its first health check passes. */
  join(backend: string, slot: string): Promise<void>;
  /** 0–256, relative to the other nodes; 0 takes no new sessions. */
  setWeight(backend: string, slot: string, weight: number): Promise<void>;
}

const requirePort = (port: number): void => {
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return;
  throw new RuntimeApiError('invalid', `a port from 1 to 65535 expected, got ${port}`);
};

const requireAddress = (host: string): void => {
  if (isIP(host) === 0) throw new RuntimeApiError('invalid', `an IP address expected, got "${host}"`);
};

const NAME = /^[\w.-]+$/;
// Bits of srv_admin_state: 0x01 and 0x02 forced and inherited maintenance, 0x20 no address resolved, 0x08 and 0x10
// forced and inherited drain. (0x04 only tells that the configuration began with maintenance.)
const MAINT_BITS = 0x01 | 0x02 | 0x20;
const DRAIN_BITS = 0x08 | 0x10;
// Bits of srv_agent_state.
const CHECK_CONFIGURED = 0x02;
const CHECK_ENABLED = 0x04;
const OPERATIONAL: readonly OperationalState[] = ['down', 'starting', 'up', 'draining'];

function checked(name: string): string {
  if (!NAME.test(name)) throw new RuntimeApiError('invalid', `not a backend or slot name: "${name}"`);
  return name;
}

export function createRuntimeApi(socketPath: string, timeoutMs = 2_000): RuntimeApi {
  const command = async (line: string): Promise<string> => {
    if (line.includes('\n')) throw new RuntimeApiError('invalid', 'a command is one line');
    return exchange(socketPath, line, timeoutMs);
  };

  const silent = async (line: string): Promise<void> => {
    const answer = await command(line);
    if (answer !== '') throw new RuntimeApiError('refused', `HAProxy refused "${line}": ${answer}`);
  };
  const saying = async (line: string, success: RegExp): Promise<void> => {
    const answer = await command(line);
    if (!success.test(answer)) throw new RuntimeApiError('refused', `HAProxy refused "${line}": ${answer}`);
  };
  const target = (backend: string, slot: string): string => `${checked(backend)}/${checked(slot)}`;

  return {
    command,
    slots: async (backend) => {
      const state = await command(`show servers state ${checked(backend)}`);
      if (!state.startsWith('1\n')) throw new RuntimeApiError('refused', `HAProxy has no backend ${backend}: ${state}`);
      return parseSlots(state, await command(`show stat ${backend} 4 -1`));
    },
    setAddress: async (backend, slot, host, port) => {
      requireAddress(host);
      requirePort(port);
      // Unlike the other commands, these two may answer with a sentence when they worked.
      await saying(`set server ${target(backend, slot)} addr ${host} port ${port}`, /changed from|no need to change/);
    },
    setCheckPort: async (backend, slot, port) => {
      requirePort(port);
      await saying(`set server ${target(backend, slot)} check-port ${port}`, /^$|updated/);
    },
    setState: async (backend, slot, state) => silent(`set server ${target(backend, slot)} state ${state}`),
    setAgentCheck: async (backend, slot, at) => {
      const name = target(backend, slot);
      if (at === undefined) return silent(`disable agent ${name}`);
      requireAddress(at.host);
      requirePort(at.port);
      // In this order and in one line: HAProxy takes no address for a check that is off, and must not ask the old one.
      return silent(`enable agent ${name}; set server ${name} agent-addr ${at.host} port ${at.port}`);
    },
    join: async (backend, slot) => {
      const name = target(backend, slot);
      // On its own, `ready` trusts the server at once, before anything answered there.
      return silent(`set server ${name} state ready; set server ${name} health down`);
    },
    setWeight: async (backend, slot, weight) => {
      if (!Number.isInteger(weight) || weight < 0 || weight > 256) {
        throw new RuntimeApiError('invalid', `a weight from 0 to 256 expected, got ${weight}`);
      }
      return silent(`set server ${target(backend, slot)} weight ${weight}`);
    },
  };
}

/** Joins the answers of `show servers state <backend>` and `show stat <backend> 4 -1`. */
export function parseSlots(serversState: string, stat: string): Slot[] {
  const sessions = new Map<string, number>();
  for (const row of rows(stat.split('\n'), ',')) sessions.set(row.get('svname') ?? '', Number(row.get('scur')));
  // The first line is the format version.
  return rows(serversState.split('\n').slice(1), ' ').map((row) => {
    const slot = row.get('srv_name') ?? '';
    const bits = Number(row.get('srv_admin_state'));
    const agent = Number(row.get('srv_agent_state'));
    return {
      slot,
      host: row.get('srv_addr') ?? '',
      port: Number(row.get('srv_port')),
      admin: bits & MAINT_BITS ? 'maint' : bits & DRAIN_BITS ? 'drain' : 'ready',
      operational: OPERATIONAL[Number(row.get('srv_op_state'))] ?? 'down',
      weight: Number(row.get('srv_uweight')),
      agentCheck: agent & CHECK_ENABLED ? Number(row.get('srv_agent_port')) : agent & CHECK_CONFIGURED ? 'off' : 'none',
      sessions: sessions.get(slot) ?? 0,
    };
  });
}

/** A table whose first line is `# column column …`. */
function rows(table: readonly string[], separator: string): Map<string, string>[] {
  const [head = '', ...body] = table;
  const columns = head.replace(/^# /, '').split(separator);
  return body
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const cells = line.split(separator);
      return new Map(columns.map((column, i) => [column, cells[i] ?? '']));
    });
}

function exchange(path: string, line: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ path });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new RuntimeApiError('timeout', `no answer from HAProxy at ${path} within ${timeoutMs} ms: "${line}"`));
    }, timeoutMs);
    socket.on('connect', () => socket.write(`${line}\n`));
    socket.on('data', (chunk) => chunks.push(chunk));
    // HAProxy closes the connection after the answer.
    socket.on('end', () => {
      resolve(Buffer.concat(chunks).toString('utf8').trim());
    });
    socket.on('error', (cause) => {
      reject(new RuntimeApiError('unreachable', `no HAProxy at ${path}: ${cause.message}`, { cause }));
    });
    socket.on('close', () => {
      clearTimeout(timer);
      reject(new RuntimeApiError('unreachable', `HAProxy at ${path} cut the connection`));
    });
  });
}
