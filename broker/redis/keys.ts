// The names of keys and topics in Redis: `<prefix>:{<tag>}:<kind>:<rest>`.
import { PARTITION_TAGS, partitionOf } from './partition.ts';

/** `m` numbering (string), `s` stream, `i` seen message id (string), `c` topic of a channel. */
export interface ChannelKeys {
  readonly meta: string;
  readonly stream: string;
  readonly topic: string;
  /** Followed by the message id. */
  readonly seenPrefix: string;
}

export interface KeySpace {
  of(channel: string): ChannelKeys;
  readonly control: {
    /** Sorted set: node name by the end of its lease, Unix ms of the server. */
    readonly index: string;
    /** Followed by the node name: the lease, JSON of a `NodeRecord`. */
    readonly leasePrefix: string;
    readonly requestTopic: string;
    /** Followed by the instance that asked. */
    readonly answerTopicPrefix: string;
  };
}

/** Control keys are few; one partition keeps the scripts on them in one slot. */
const CONTROL_PARTITION = 0;

export const createKeySpace = (prefix: string): KeySpace => {
  const bases = PARTITION_TAGS.map((tag) => `${prefix}:{${tag}}:`);
  const control = bases[CONTROL_PARTITION]!;
  return {
    of(channel) {
      const base = bases[partitionOf(channel)]!;
      return {
        meta: `${base}m:${channel}`,
        stream: `${base}s:${channel}`,
        topic: `${base}c:${channel}`,
        seenPrefix: `${base}i:${channel}:`,
      };
    },
    control: {
      index: `${control}nodes`,
      leasePrefix: `${control}node:`,
      requestTopic: `${control}request`,
      answerTopicPrefix: `${control}answer:`,
    },
  };
};

/**
 * Splits work into the calls it needs, one per place the keys may live at, keeping order. A standalone server holds every
 * partition, so there is one; a cluster would name the owner of the channel's partition here.
 */
export const groupByCallTarget = <T>(items: readonly T[]): readonly (readonly T[])[] =>
  items.length === 0 ? [] : [items];
