// Which nodes a balancer believes in, from readings of the registry of which any may fail or come too early.
import { isIP } from 'node:net';
import type { NodeRecord } from '../../broker/control.ts';
import { type NodeInfo, parseNodeInfo } from '../../broker/node-info.ts';
import type { NodeAddress, NodeWish } from '../haproxy-options.ts';
import type { Unwanted } from '../membership.ts';

interface Member {
  readonly info: NodeInfo;
  readonly announcedAtMs: number;
  /** Monotonic, of the last reading that listed it. */
  readonly seenAtMs: number;
}

export interface Members {
  /** By name. */
  readonly known: ReadonlyMap<string, Member>;
  /** Nodes of the last reading that tell no address, by name: of another version, or not of Weir. */
  readonly ignored: readonly string[];
  /** `away`: it did not answer; `empty`: it lists nobody, which says more about the registry than about the nodes. */
  readonly registry: 'readable' | 'away' | 'empty';
  /** Monotonic, of the first reading of the present row without failure; undefined unless readable. */
  readonly readableSinceMs: number | undefined;
}

export const noMembers: Members = { known: new Map(), ignored: [], registry: 'away', readableSinceMs: undefined };

/** The registry could not be read: who was known stays known. */
export const afterFailure = (members: Members): Members => ({
  ...members,
  registry: 'away',
  readableSinceMs: undefined,
});

/**
 * A node that is not listed is given up only when it was missing for `absenceMs` in a row of readings: after an outage or a
 * loss of the registry's data nodes need a moment to announce themselves again. Until then HAProxy's own checks judge it.
 */
export const afterReading = (
  members: Members,
  records: readonly NodeRecord[],
  nowMs: number,
  absenceMs: number,
): Members => {
  const listed = new Map<string, Member>();
  const ignored: string[] = [];
  for (const { node, info, announcedAtMs } of records) {
    const parsed = parseNodeInfo(info);
    if (parsed === undefined || isIP(parsed.address) === 0) ignored.push(node);
    else listed.set(node, { info: parsed, announcedAtMs, seenAtMs: nowMs });
  }
  if (listed.size === 0) return { ...members, ignored, registry: 'empty', readableSinceMs: undefined };
  const readableSinceMs = members.readableSinceMs ?? nowMs;
  const absent = [...members.known].filter(
    ([name, { seenAtMs }]) => !listed.has(name) && nowMs - Math.max(seenAtMs, readableSinceMs) < absenceMs,
  );
  return { known: new Map([...absent, ...listed]), ignored, registry: 'readable', readableSinceMs };
};

/**
 * What to do with slots of nodes that are not known: `free` them only when the registry has been readable for as long as a
 * node may be missing, because they may be nodes that an earlier process of this agent knew. Undefined: the list may be out
 * of date, other agents may know better, so only a HAProxy that has lost all its slots is filled from it.
 */
export const fateOfUnknown = (members: Members, nowMs: number, absenceMs: number): Unwanted | undefined => {
  if (members.readableSinceMs === undefined) return undefined;
  return nowMs - members.readableSinceMs < absenceMs ? 'keep' : 'free';
};

/** The nodes HAProxy should hold, the newest last, so that it counts where two have one address. */
export const wantedNodes = (members: Members): (NodeAddress & NodeWish)[] =>
  [...members.known]
    .sort(([a, one], [b, other]) => one.announcedAtMs - other.announcedAtMs || (a < b ? -1 : 1))
    .map(([name, { info }]) => ({
      name,
      host: info.address,
      port: info.port,
      ...(info.internalPort === undefined ? {} : { internalPort: info.internalPort }),
      ...(info.agentCheckPort === undefined ? {} : { agentCheckPort: info.agentCheckPort }),
      weight: info.weight,
      // Whether a node that is not ready may take sockets is for HAProxy's check to find out, every second.
      state: info.state === 'draining' ? 'draining' : 'ready',
    }));

export const countByState = (members: Members): Record<NodeInfo['state'], number> => {
  const counts = { ready: 0, draining: 0, not_ready: 0 };
  for (const { info } of members.known.values()) counts[info.state] += 1;
  return counts;
};
