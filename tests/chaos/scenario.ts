// Turns a seed into the timed steps of a chaos run, and is the source of every other random choice in it. Pure.

/** Numbers from 0 (inclusive) to 1 that a seed decides (mulberry32). */
export const createRandom = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** What happens to the cluster, without its time. */
export type Fault =
  | { readonly kind: 'kill-node'; readonly node: number; readonly forMs: number }
  | { readonly kind: 'roll-node'; readonly node: number }
  | { readonly kind: 'kill-pubsub' }
  | { readonly kind: 'restart-redis-empty'; readonly forMs: number }
  | { readonly kind: 'restart-redis-persisted'; readonly forMs: number }
  | { readonly kind: 'restart-redis-stale'; readonly forMs: number }
  /** The master is killed, the replica promoted; what the master took in the last `tailMs` the replica never got. */
  | { readonly kind: 'fail-over'; readonly tailMs: number; readonly forMs: number }
  /** Master and replica change places by order. */
  | { readonly kind: 'switch-over' }
  | {
      readonly kind: 'cut-redis';
      readonly node: number;
      readonly how: 'blackhole' | 'reset' | 'delay';
      readonly forMs: number;
    }
  | { readonly kind: 'stall-clients'; readonly clients: readonly number[]; readonly forMs: number }
  | { readonly kind: 'cut-clients'; readonly clients: readonly number[] };
export type FaultKind = Fault['kind'];

export type Step = Fault & { readonly atMs: number };

/** `standalone`: one server with an append-only file. `sentinel`: a master and a replica without persistence, three Sentinels. */
export type Deployment = 'standalone' | 'sentinel';

const COMMON_KINDS: readonly FaultKind[] = ['kill-node', 'roll-node', 'kill-pubsub', 'stall-clients', 'cut-clients'];
/**
 * What happens to a deployment unless steps are named. `restart-redis-stale` comes back with the append-only file of a second
 * before, as after a power cut.
 */
export const DEFAULT_KINDS: Readonly<Record<Deployment, readonly FaultKind[]>> = {
  standalone: [...COMMON_KINDS, 'restart-redis-empty', 'restart-redis-persisted', 'restart-redis-stale', 'cut-redis'],
  sentinel: [...COMMON_KINDS, 'fail-over'],
};
/** All that can happen. While a `switch-over` lasts there are two masters, which the promises do not cover (ADR 9). */
export const KINDS: Readonly<Record<Deployment, readonly FaultKind[]>> = {
  standalone: DEFAULT_KINDS.standalone,
  sentinel: [...DEFAULT_KINDS.sentinel, 'switch-over'],
};

export interface ScenarioOptions {
  readonly seed: number;
  /** The last step begins before. */
  readonly durationMs: number;
  readonly nodes: number;
  readonly clients: number;
  readonly kinds: readonly FaultKind[];
}

/** Time for publications before the first step, so that there is something to lose. */
const FIRST_AFTER_MS = 1_000;
const PAUSE_MS = { least: 300, most: 1_500 } as const;

export const planSteps = (options: ScenarioOptions): readonly Step[] => {
  const { nodes, clients, kinds } = options;
  const random = createRandom(options.seed);
  const between = (least: number, most: number): number => least + Math.floor(random() * (most - least + 1));
  const some = (): number[] => Array.from({ length: clients }, (_, index) => index).filter(() => random() < 0.4);
  const fault = (kind: FaultKind): Fault => {
    switch (kind) {
      case 'kill-node':
        return { kind, node: between(0, nodes - 1), forMs: between(0, 1_500) };
      case 'roll-node':
        return { kind, node: between(0, nodes - 1) };
      case 'kill-pubsub':
        return { kind };
      case 'restart-redis-empty':
      case 'restart-redis-persisted':
      case 'restart-redis-stale':
        return { kind, forMs: between(0, 1_500) };
      case 'fail-over':
        return { kind, tailMs: between(0, 1) * between(200, 1_500), forMs: between(0, 1_500) };
      case 'switch-over':
        return { kind };
      case 'cut-redis': {
        const how = (['blackhole', 'reset', 'delay'] as const)[between(0, 2)] ?? 'reset';
        return { kind, node: between(0, nodes - 1), how, forMs: between(500, 3_000) };
      }
      case 'stall-clients':
        return { kind, clients: some(), forMs: between(1_000, 3_000) };
      case 'cut-clients':
        return { kind, clients: some() };
    }
  };
  const steps: Step[] = [];
  // Each kind once before any comes again, so that a short run meets most of them.
  let bag: FaultKind[] = [];
  for (let atMs = FIRST_AFTER_MS; atMs < options.durationMs; atMs += between(PAUSE_MS.least, PAUSE_MS.most)) {
    if (bag.length === 0) bag = [...kinds];
    const [kind] = bag.splice(between(0, bag.length - 1), 1);
    if (kind !== undefined) steps.push({ atMs, ...fault(kind) });
  }
  return steps;
};

export const describeStep = (step: Step): string => {
  const { atMs, kind, ...rest } = step;
  return `${String(atMs).padStart(7)} ms ${kind} ${JSON.stringify(rest)}`;
};
