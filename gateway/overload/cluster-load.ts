// What nodes tell each other about their load with their lease, and what follows from it for whoever sends clients away. Pure.
import type { Json, NodeRecord } from '../../broker/control.ts';
import { DEFAULT_ADMISSION_PER_SECOND } from '../config/keys.ts';

export interface NodeLoad {
  readonly node: string;
  /** Undefined when the node does not say, as one of an earlier version. */
  readonly connections: number | undefined;
  readonly admissionPerSecond: number;
}

export interface ClusterLoad {
  /** Nodes that take new connections, by name. */
  readonly ready: readonly NodeLoad[];
  /** Nodes that send theirs away. */
  readonly draining: number;
}

/** Part of what a node admits that movers may use: clients come by themselves as well. */
const SHARE_OF_MOVERS = 0.8;

type Announced = { readonly [key: string]: Json };

const fieldsOf = (info: Json): Announced =>
  typeof info === 'object' && info !== null && !Array.isArray(info) ? (info as Announced) : {};

const positive = (value: Json | undefined): number | undefined =>
  typeof value === 'number' && value >= 0 ? value : undefined;

export const clusterLoadOf = (nodes: readonly NodeRecord[]): ClusterLoad => {
  const announced = nodes.map(({ node, info }) => ({ node, fields: fieldsOf(info) }));
  return {
    ready: announced
      .filter(({ fields }) => fields['ready'] === true)
      .map(({ node, fields }) => ({
        node,
        connections: positive(fields['connections']),
        admissionPerSecond: positive(fields['admissionPerSecond']) ?? DEFAULT_ADMISSION_PER_SECOND,
      })),
    draining: announced.filter(({ fields }) => fields['state'] === 'draining').length,
  };
};

/** Those that take the clients of `node`. */
export const survivorsOf = ({ ready }: ClusterLoad, node: string): readonly NodeLoad[] =>
  ready.filter((one) => one.node !== node);

/** Connections a second that these nodes take from others together. */
export const admissionOf = (nodes: readonly NodeLoad[]): number =>
  nodes.reduce((sum, { admissionPerSecond }) => sum + admissionPerSecond, 0) * SHARE_OF_MOVERS;
