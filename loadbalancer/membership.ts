// Keeps the slots of HAProxy in step with a list of nodes, without a reload.
import { CLIENT_BACKEND, FULL_WEIGHT, type NodeAddress, type NodeWish, SERVER_BACKEND } from './haproxy-options.ts';
import { type RuntimeApi, RuntimeApiError, type Slot } from './runtime-api.ts';

export type SlotChange =
  /** Point an empty slot at a node; it joins when its first health check passes. */
  | ({ readonly kind: 'join'; readonly slot: string } & Pick<Endpoint, 'host' | 'port' | 'checkPort'>)
  /** A node on its way out is wanted again: its sockets stay, new ones may come. */
  | { readonly kind: 'return'; readonly slot: string }
  /** A node wants no new sockets, or is no longer wanted: those it has stay. */
  | { readonly kind: 'drain'; readonly slot: string }
  /** A node takes another share than before. */
  | { readonly kind: 'weigh'; readonly slot: string; readonly weight: number }
  /** HAProxy asks the node for weight and state from now on. */
  | { readonly kind: 'ask'; readonly slot: string; readonly host: string; readonly port: number }
  /** HAProxy asks nobody: an empty slot, or a node that answers no agent-check. */
  | { readonly kind: 'ask-nobody'; readonly slot: string }
  /** A node is gone, or has no sessions any more: it becomes an empty slot. */
  | { readonly kind: 'free'; readonly slot: string };

/** A node as one backend sees it. */
export interface Endpoint extends NodeWish {
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

/**
 * What becomes of a node that is no longer in the list. `drain`: its sockets stay until they end, then its slot is freed.
 * `free`: it is gone for good, its slot is freed at once. `keep`: nothing.
 */
export type Unwanted = 'drain' | 'free' | 'keep';

const endpointKey = (endpoint: { host: string; port: number }): string => `${endpoint.host} ${endpoint.port}`;

const asksSomebody = (slot: Slot): boolean => typeof slot.agentCheck === 'number';

/** Admin state and weight as the node wants them, unless HAProxy asks the node itself. */
function adjust(slot: Slot, wanted: Endpoint): SlotChange[] {
  const { slot: name } = slot;
  if (wanted.agentCheckPort !== undefined && slot.agentCheck !== 'none') {
    if (slot.agentCheck === wanted.agentCheckPort) return [];
    return [{ kind: 'ask', slot: name, host: wanted.host, port: wanted.agentCheckPort }];
  }
  const changes: SlotChange[] = [];
  if (asksSomebody(slot)) changes.push({ kind: 'ask-nobody', slot: name });
  const admin = wanted.state === 'draining' ? 'drain' : 'ready';
  if (slot.admin !== admin) changes.push({ kind: admin === 'drain' ? 'drain' : 'return', slot: name });
  const weight = wanted.weight ?? FULL_WEIGHT;
  if (slot.weight !== weight) changes.push({ kind: 'weigh', slot: name, weight });
  return changes;
}

/**
 * What to change so that the wanted nodes, and no others, take new sessions. Pure. Planning again after the changes
 * were applied yields nothing but `free`, and nothing at all once the last session is gone. Of several nodes with one
 * address the last one in the list counts.
 * Invariants: a slot that holds sessions never gets another address; no address is ready in two slots.
 */
export function planMembership(
  slots: readonly Slot[],
  wanted: readonly Endpoint[],
  unwanted: Unwanted = 'drain',
): MembershipPlan {
  const missing = new Map(wanted.map((endpoint) => [endpointKey(endpoint), endpoint]));
  const known = new Set(missing.keys());
  const changes: SlotChange[] = [];
  const draining: string[] = [];
  const freed: Slot[] = [];

  // Slots that take traffic come first: a node must not be returned to a draining slot while a ready one serves it.
  const inUse = slots.filter((slot) => slot.admin !== 'maint');
  for (const slot of [...inUse.filter((s) => s.admin === 'ready'), ...inUse.filter((s) => s.admin === 'drain')]) {
    const key = endpointKey(slot);
    const endpoint = missing.get(key);
    // A node in a second slot drains out of it, whatever becomes of nodes that are gone.
    const fate = known.has(key) ? 'drain' : unwanted;
    if (endpoint !== undefined) {
      missing.delete(key);
      changes.push(...adjust(slot, endpoint));
    } else if (fate === 'free' || (fate === 'drain' && isIdle(slot))) {
      // A node that is down has lost its sockets already. Asked on, it could call its slot ready again.
      if (asksSomebody(slot)) changes.push({ kind: 'ask-nobody', slot: slot.slot });
      changes.push({ kind: 'free', slot: slot.slot });
      freed.push(slot);
    } else if (fate === 'drain') {
      if (asksSomebody(slot)) changes.push({ kind: 'ask-nobody', slot: slot.slot });
      if (slot.admin === 'ready') changes.push({ kind: 'drain', slot: slot.slot });
      draining.push(slot.slot);
    }
  }
  const empty = slots.filter((slot) => slot.admin === 'maint');
  // A slot freed in this plan is used last, so that its number stays apart from the old node's for a while.
  const free = [...empty, ...freed].filter((slot) => slot.sessions === 0);
  const unplaced: Endpoint[] = [];
  const taken = new Set<string>();
  for (const endpoint of missing.values()) {
    // A node on its way out that has no slot needs none.
    if (endpoint.state === 'draining') continue;
    const slot = free.shift();
    if (slot === undefined) {
      unplaced.push(endpoint);
      continue;
    }
    taken.add(slot.slot);
    const { host, port, checkPort } = endpoint;
    changes.push({ kind: 'join', slot: slot.slot, host, port, checkPort });
    const agentCheck = freed.includes(slot) && asksSomebody(slot) ? 'off' : slot.agentCheck;
    changes.push(...adjust({ ...slot, admin: 'ready', agentCheck }, endpoint));
  }
  for (const slot of empty) {
    if (asksSomebody(slot) && !taken.has(slot.slot)) changes.push({ kind: 'ask-nobody', slot: slot.slot });
  }
  return { changes, unplaced, draining };
}

const isIdle = (slot: Slot): boolean => slot.operational === 'down' || (slot.admin === 'drain' && slot.sessions === 0);

export interface MembershipResult {
  /** Changes made, over both backends. */
  readonly changes: readonly SlotChange[];
  /** Names of wanted nodes that got no slot in some backend. */
  readonly unplaced: readonly string[];
  /** Slots of unwanted nodes that still hold sessions, in either backend. */
  readonly draining: number;
  /** Slots that a further node could have, in the backend that has fewer. */
  readonly free: number;
  /** Changes HAProxy would not make, in its words; all others were made. */
  readonly refused: readonly string[];
}

async function applyChange(api: RuntimeApi, backend: string, change: SlotChange): Promise<void> {
  switch (change.kind) {
    case 'join':
      await api.setAddress(backend, change.slot, change.host, change.port);
      await api.setCheckPort(backend, change.slot, change.checkPort);
      return api.join(backend, change.slot);
    case 'ask':
      return api.setAgentCheck(backend, change.slot, change);
    case 'return':
      return api.setState(backend, change.slot, 'ready');
    case 'drain':
      return api.setState(backend, change.slot, 'drain');
    case 'weigh':
      return api.setWeight(backend, change.slot, change.weight);
    case 'ask-nobody':
      return api.setAgentCheck(backend, change.slot, undefined);
    case 'free':
      return api.setState(backend, change.slot, 'maint');
  }
}

export interface MembershipOptions {
  /** Default `drain`. */
  readonly unwanted?: Unwanted;
  /** Touch nothing in a backend that has any node: for a list that may be out of date. */
  readonly onlyWhenEmpty?: boolean;
}

/**
 * Makes the slots of both backends follow `nodes` (hosts are IP addresses). Call it again whenever the list changes,
 * and from time to time while `draining` is above 0. Throws RuntimeApiError when HAProxy cannot be reached.
 */
export async function applyMembership(
  api: RuntimeApi,
  nodes: readonly (NodeAddress & NodeWish)[],
  options: MembershipOptions = {},
): Promise<MembershipResult> {
  const unplaced = new Set<string>();
  const changes: SlotChange[] = [];
  const refused: string[] = [];
  let draining = 0;
  let free = Infinity;
  for (const backend of [CLIENT_BACKEND, SERVER_BACKEND]) {
    const wanted = nodes.map(({ internalPort, ...node }) => ({
      ...node,
      port: backend === SERVER_BACKEND ? (internalPort ?? node.port) : node.port,
      checkPort: internalPort ?? node.port,
    }));
    const slots = await api.slots(backend);
    const isLeftAlone = options.onlyWhenEmpty === true && slots.some((slot) => slot.admin !== 'maint');
    const plan: MembershipPlan = isLeftAlone
      ? { changes: [], unplaced: [], draining: [] }
      : planMembership(slots, wanted, options.unwanted);
    for (const change of plan.changes) {
      try {
        await applyChange(api, backend, change);
        changes.push(change);
      } catch (error) {
        // One node that HAProxy will not take must not keep the others out.
        if (!(error instanceof RuntimeApiError) || (error.code !== 'refused' && error.code !== 'invalid')) throw error;
        refused.push(error.message);
      }
    }
    const count = (kind: SlotChange['kind']): number => plan.changes.filter((change) => change.kind === kind).length;
    const empty = slots.filter((slot) => slot.admin === 'maint').length;
    free = Math.min(free, empty + count('free') - count('join'));
    draining += plan.draining.length;
    for (const endpoint of plan.unplaced) unplaced.add(endpoint.name);
  }
  return { changes, unplaced: [...unplaced], draining, free, refused };
}
