// The contract of the control bus: which nodes live, and questions every node answers for itself.
//
// A node is a member while its lease is renewed; a killed node disappears when its lease ends, a closed one at once.
// Handlers run on every live node, the asking one included, so that an answer is complete by construction.

/** JSON value: everything on the control bus crosses processes as JSON text. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface NodeRecord {
  readonly node: string;
  /** What the node last announced (`announce`), e.g. connections, subscriptions, rates. */
  readonly info: Json;
  /** Unix time of that announcement, ms. */
  readonly announcedAtMs: number;
}

export interface RequestResult {
  readonly answers: readonly { readonly node: string; readonly answer: Json }[];
  /** Nodes with a live lease that did not answer in time: the result is partial when not empty. */
  readonly missing: readonly string[];
}

export type ControlHandler = (payload: Json) => Json | Promise<Json>;

export interface ControlBus {
  /** Renews this node's lease with fresh information; the caller repeats it well within `leaseMs`. Rejects with `BrokerUnavailableError`. */
  announce(info: Json): Promise<void>;
  /** Lifetime of a lease that is not renewed, ms. */
  readonly leaseMs: number;
  /** Nodes with a live lease, ordered by name. Rejects with `BrokerUnavailableError`. */
  nodes(): Promise<NodeRecord[]>;
  /** Answers requests of this kind on this node; one handler per kind, set before `start`. A handler that throws counts as missing. */
  handle(kind: string, handler: ControlHandler): void;
  /**
   * Asks every live node and resolves as soon as all have answered, or after `timeoutMs` with the rest in `missing`.
   * Rejects with `BrokerUnavailableError`.
   */
  request(kind: string, payload: Json, timeoutMs: number): Promise<RequestResult>;
}
