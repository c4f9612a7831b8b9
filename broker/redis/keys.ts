// The names of keys and topics in Redis: `<prefix>:{<tag>}:<kind>:<rest>`.
import { LIFECYCLE_LANES } from '../lifecycle.ts';
import { PARTITION_TAGS, partitionOf, PARTITIONS } from './partition.ts';

/** `m` numbering (string), `s` stream, `i` seen message id (string), `c` topic of a channel, `h` held after a failover. */
export interface ChannelKeys {
  readonly partition: number;
  readonly meta: string;
  readonly stream: string;
  readonly topic: string;
  /** Followed by the message id. */
  readonly seenPrefix: string;
  /** What nodes know beyond the numbering after a failover (see lua/restore.lua). */
  readonly held: string;
  /** Decisions after failovers, shared by all channels one call may touch. */
  readonly rounds: string;
}

/** What one call may touch: all partitions of a server that stands alone, or one hash slot of a cluster. */
export type CallReach = 'server' | 'slot';

export interface KeySpace {
  readonly reach: CallReach;
  /** Classic pub/sub of a cluster is copied to every node, sharded pub/sub stays with the owner of the slot. */
  readonly notifyCommand: 'PUBLISH' | 'SPUBLISH';
  of(channel: string): ChannelKeys;
  /** The partition alone, without the names. */
  partitionOf(channel: string): number;
  /** Hash of a session (lua/session-save.lua). */
  ofSession(session: string): { readonly partition: number; readonly key: string };
  /** Of a limit over all nodes: the window of a budget, or who holds how much. */
  ofLimit(kind: 'budget' | 'hold', limit: string): { readonly partition: number; readonly key: string };
  /** Of a lane of lifecycle events (lua/lifecycle-lane.lua). */
  ofLane(lane: number): {
    readonly partition: number;
    readonly keys: readonly string[];
    /** Followed by the life. */
    readonly nodePrefix: string;
    readonly retiredPrefix: string;
  };
  /** The partition that stands for all whose channels share their decisions after a failover with this one's. */
  scopeOf(partition: number): number;
  /** See `ChannelKeys.rounds`. */
  roundsOf(partition: number): string;
  /** Splits work into the calls it needs; what belongs to one channel stays together and in order. */
  groupByCall<T>(items: readonly T[], channelOf: (item: T) => string): readonly (readonly T[])[];
  readonly control: {
    readonly partition: number;
    /** Sorted set: node name by the end of its lease, Unix ms of the server. */
    readonly index: string;
    /** Sorted set: life of a node by the end of its lease, as above. */
    readonly lives: string;
    /** Followed by the node name: the lease, JSON of a `NodeRecord`. */
    readonly leasePrefix: string;
    readonly requestTopic: string;
    /** Followed by the instance that asked. */
    readonly answerTopicPrefix: string;
    /** See lua/revocations-add.lua. */
    readonly revocations: readonly string[];
  };
}

/** Control keys are few; one partition keeps the scripts on them in one slot. */
const CONTROL_PARTITION = 0;

/** Lanes lie as far apart as they can, so that any even split of the partitions is an even split of the lanes. */
const PARTITIONS_PER_LANE = PARTITIONS / LIFECYCLE_LANES;

const groupByPartition = <T>(items: readonly T[], channelOf: (item: T) => string): T[][] => {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const partition = partitionOf(channelOf(item));
    const group = groups.get(partition);
    if (group === undefined) groups.set(partition, [item]);
    else group.push(item);
  }
  return [...groups.values()];
};

export const createKeySpace = (prefix: string, reach: CallReach = 'server'): KeySpace => {
  const bases = PARTITION_TAGS.map((tag) => `${prefix}:{${tag}}:`);
  const control = bases[CONTROL_PARTITION]!;
  const scopeOf = (partition: number): number => (reach === 'server' ? CONTROL_PARTITION : partition);
  const roundsOf = (partition: number): string => `${bases[scopeOf(partition)]!}rounds`;
  return {
    reach,
    scopeOf,
    roundsOf,
    notifyCommand: reach === 'slot' ? 'SPUBLISH' : 'PUBLISH',
    partitionOf,
    of(channel) {
      const partition = partitionOf(channel);
      const base = bases[partition]!;
      return {
        partition,
        meta: `${base}m:${channel}`,
        stream: `${base}s:${channel}`,
        topic: `${base}c:${channel}`,
        seenPrefix: `${base}i:${channel}:`,
        held: `${base}h:${channel}`,
        rounds: roundsOf(partition),
      };
    },
    ofSession(session) {
      const partition = partitionOf(session);
      return { partition, key: `${bases[partition]!}session:${session}` };
    },
    ofLimit(kind, limit) {
      const partition = partitionOf(limit);
      return { partition, key: `${bases[partition]!}limit-${kind}:${limit}` };
    },
    ofLane(lane) {
      const partition = lane * PARTITIONS_PER_LANE;
      const base = `${bases[partition]!}events:`;
      const keys = ['meta', 'log', 'lives', 'vacating', 'channels'].map((name) => base + name);
      return { partition, keys, nodePrefix: `${base}node:`, retiredPrefix: `${base}retired:` };
    },
    groupByCall(items, channelOf) {
      if (items.length === 0) return [];
      return reach === 'server' ? [items] : groupByPartition(items, channelOf);
    },
    control: {
      partition: CONTROL_PARTITION,
      index: `${control}nodes`,
      lives: `${control}lives`,
      leasePrefix: `${control}node:`,
      requestTopic: `${control}request`,
      answerTopicPrefix: `${control}answer:`,
      revocations: ['entries', 'order', 'ends', 'life'].map((name) => `${control}revocations:${name}`),
    },
  };
};
