// Keeps the slots of HAProxy in step with a list of nodes, without a reload.
import { CLIENT_BACKEND, type NodeAddress, SERVER_BACKEND } from './haproxy-options.ts';
import type { RuntimeApi, Slot } from './runtime-api.ts';

export type SlotChange =
  /** Point an empty slot at a node; it joins when its first health check passes. */
  | ({ readonly kind: 'join'; readonly slot: string } & Omit<Endpoint, 'name'>)
  /** A node on its way out is wanted again: its sockets stay, new ones may come. */
  | { readonly kind: 'return'; readonly slot: string }
  /** A node is no longer wanted: its sockets stay, no new ones come. */
  | { readonly kind: 'drain'; readonly slot: string }
  /** A drained slot has no sessions any more, or its node is gone: it becomes an empty slot. */
  | { readonly kind: 'free'; readonly slot: string };

/** A node as one backend sees it. */
export interface Endpoint {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Where the node answers health checks. */
  readonly checkPort: number;
}

export interface MembershipPlan {
  readonly changes: readonly SlotChange[];
  /** Nodes for which no slot was free. */
  readonly unplaced: readonly Endpoint[];
  /** Slots that still hold sessions of nodes no longer wanted; plan again later to free them. */
  readonly draining: readonly string[];
}

const endpointKey = (endpoint: { host: string; port: number }): string => `${endpoint.host} ${endpoint.port}`;

/**
 * What to change so that the wanted nodes, and no others, take new sessions. Pure. Planning again after the changes
 * were applied yields nothing but `free`, and nothing at all once the last session is gone.
 * Invariants: a slot that holds sessions never gets another address; no address is ready in two slots.
 */
export function planMembership(slots: readonly Slot[], wanted: readonly Endpoint[]): MembershipPlan {
  const missing = new Map(wanted.map((endpoint) => [endpointKey(endpoint), endpoint]));
  const changes: SlotChange[] = [];
  const draining: string[] = [];
  const freed: Slot[] = [];

  // Slots that take traffic come first: a node must not be returned to a draining slot while a ready one serves it.
  const inUse = slots.filter((slot) => slot.admin !== 'maint');
  for (const slot of [...inUse.filter((s) => s.admin === 'ready'), ...inUse.filter((s) => s.admin === 'drain')]) {
    if (missing.delete(endpointKey(slot))) {
      if (slot.admin === 'drain') changes.push({ kind: 'return', slot: slot.slot });
    } else if (slot.operational === 'down' || (slot.admin === 'drain' && slot.sessions === 0)) {
      // A node that is down has lost its sockets already.
      changes.push({ kind: 'free', slot: slot.slot });
      freed.push(slot);
    } else {
      if (slot.admin === 'ready') changes.push({ kind: 'drain', slot: slot.slot });
      draining.push(slot.slot);
    }
  }
  // A slot freed in this plan is used last, so that its number stays apart from the old node's for a while.
  const free = [...slots.filter((slot) => slot.admin === 'maint'), ...freed].filter((slot) => slot.sessions === 0);
  const unplaced: Endpoint[] = [];
  for (const endpoint of missing.values()) {
    const slot = free.shift();
    if (slot === undefined) unplaced.push(endpoint);
    else {
      const { host, port, checkPort } = endpoint;
      changes.push({ kind: 'join', slot: slot.slot, host, port, checkPort });
    }
  }
  return { changes, unplaced, draining };
}

export interface MembershipResult {
  /** Changes made, over both backends. */
  readonly changes: number;
  /** Names of wanted nodes that got no slot in some backend. */
  readonly unplaced: readonly string[];
  /** Slots of unwanted nodes that still hold sessions, in either backend. */
  readonly draining: number;
}

async function applyChange(api: RuntimeApi, backend: string, change: SlotChange): Promise<void> {
  switch (change.kind) {
    case 'join':
      await api.setAddress(backend, change.slot, change.host, change.port);
      await api.setCheckPort(backend, change.slot, change.checkPort);
      return api.join(backend, change.slot);
    case 'return':
      return api.setState(backend, change.slot, 'ready');
    case 'drain':
      return api.setState(backend, change.slot, 'drain');
    case 'free':
      return api.setState(backend, change.slot, 'maint');
  }
}

/**
 * Makes the slots of both backends follow `nodes` (hosts are IP addresses). Call it again whenever the list changes,
 * and from time to time while `draining` is above 0. Throws RuntimeApiError when HAProxy cannot be reached or refuses.
 */
export async function applyMembership(api: RuntimeApi, nodes: readonly NodeAddress[]): Promise<MembershipResult> {
  const unplaced = new Set<string>();
  let changes = 0;
  let draining = 0;
  for (const backend of [CLIENT_BACKEND, SERVER_BACKEND]) {
    const wanted = nodes.map((node) => ({
      name: node.name,
      host: node.host,
      port: backend === SERVER_BACKEND ? (node.internalPort ?? node.port) : node.port,
      checkPort: node.internalPort ?? node.port,
    }));
    const plan = planMembership(await api.slots(backend), wanted);
    for (const change of plan.changes) await applyChange(api, backend, change);
    changes += plan.changes.length;
    draining += plan.draining.length;
    for (const endpoint of plan.unplaced) unplaced.add(endpoint.name);
  }
  return { changes, unplaced: [...unplaced], draining };
}
