// What the whole cluster knows: every node answers for itself over the control bus, the asking node adds up.
import type { ChannelPosition } from '../../broker/broker.ts';
import type { ControlBus, Json } from '../../broker/control.ts';
import type { ChannelsPage, ChannelsQuery, NodeStats, Rates, Stats } from '../../protocol/http.ts';
import { DEFAULT_CHANNELS_PAGE } from '../../protocol/limits.ts';
import type { Hub } from '../fanout/hub.ts';
import { createChannelMatcher } from '../access/channel-pattern.ts';
import { smallest } from './smallest.ts';

export interface ClusterViewOptions {
  readonly control: ControlBus;
  readonly hub: Hub;
  /** This node's part of the statistics. */
  readonly ownStats: () => NodeStats;
  /** Longest wait for other nodes, ms. */
  readonly timeoutMs: number;
}

/** `missing` names nodes that did not answer in time: the numbers are then a lower bound. */
export interface ClusterView {
  channel(channel: string): Promise<{ subscribers: number; nodes: number; missing?: string[] }>;
  /** Only channels that one of the patterns covers; names and cursor of others do not leave the nodes. */
  channels(query: ChannelsQuery, patterns: readonly string[]): Promise<ChannelsPage>;
  stats(): Promise<Stats>;
  /** How many nodes and subscribers a publication was handed to; waits until each node sent it or the time is up. */
  reached(channel: string, position: ChannelPosition): Promise<{ nodes: number; subscribers: number }>;
}

const REACH_POLL_MS = 2;

const sumRates = (nodes: readonly NodeStats[]): Rates => ({
  publicationsPerSecond: nodes.reduce((sum, { rates }) => sum + rates.publicationsPerSecond, 0),
  deliveriesPerSecond: nodes.reduce((sum, { rates }) => sum + rates.deliveriesPerSecond, 0),
  connectsPerSecond: nodes.reduce((sum, { rates }) => sum + rates.connectsPerSecond, 0),
});

const withMissing = (missing: readonly string[]): { missing?: string[] } =>
  missing.length === 0 ? {} : { missing: [...missing] };

/** Question kinds of the control bus and what they carry. */
interface ChannelsQuestion {
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
  readonly patterns: readonly string[];
}
type ChannelCount = readonly [channel: string, subscribers: number];

export const createClusterView = ({ control, hub, ownStats, timeoutMs }: ClusterViewOptions): ClusterView => {
  /**
   * Subscribers of the channel once everything up to `position` was handed to them; 0 when the time is up. `sentSeq` only
   * grows, so a busy channel cannot hide the moment.
   */
  const whenSent = (channel: string, position: ChannelPosition): Promise<number> =>
    new Promise((resolve) => {
      const deadlineMs = performance.now() + timeoutMs / 2;
      let neededSeq: number | undefined;
      const look = (): void => {
        const state = hub.find(channel);
        if (state === undefined) {
          resolve(0);
          return;
        }
        if (state.log.epoch === position.epoch && state.log.head >= position.offset) neededSeq ??= state.log.nextSeq;
        if (neededSeq !== undefined && state.sentSeq >= neededSeq) resolve(state.subscriptions.length);
        else if (performance.now() > deadlineMs) resolve(0);
        else setTimeout(look, REACH_POLL_MS);
      };
      look();
    });

  const ownChannels = ({ prefix, after, limit, patterns }: ChannelsQuestion): ChannelCount[] => {
    const isAsked = createChannelMatcher(patterns);
    const names = smallest(
      (function* () {
        for (const { name, subscriptionCount } of hub.audiences()) {
          if (subscriptionCount > 0 && name > after && name.startsWith(prefix) && isAsked(name)) yield name;
        }
      })(),
      limit,
    );
    return names.map((name) => [name, hub.subscribersOf(name)]);
  };

  control.handle('channel', (channel) => hub.subscribersOf(channel as string));
  control.handle('channels', (question) => ownChannels(question as unknown as ChannelsQuestion));
  control.handle('stats', () => ownStats());
  control.handle('reached', (question) => {
    const { channel, epoch, offset } = question as unknown as ChannelPosition & { channel: string };
    return whenSent(channel, { epoch, offset });
  });

  const countNodes = async (
    kind: string,
    payload: Json,
  ): Promise<{ nodes: number; subscribers: number; missing: readonly string[] }> => {
    const { answers, missing } = await control.request(kind, payload, timeoutMs);
    const counts = answers.map(({ answer }) => answer as number).filter((count) => count > 0);
    return { nodes: counts.length, subscribers: counts.reduce((sum, count) => sum + count, 0), missing };
  };

  return {
    async channel(channel) {
      const { missing, ...counts } = await countNodes('channel', channel);
      return { ...counts, ...withMissing(missing) };
    },
    async reached(channel, { epoch, offset }) {
      const { nodes, subscribers } = await countNodes('reached', { channel, epoch, offset });
      return { nodes, subscribers };
    },
    async channels({ prefix = '', cursor = '', limit = DEFAULT_CHANNELS_PAGE }, patterns) {
      // One more than the page tells whether another page exists.
      const question = { prefix, after: cursor, limit: limit + 1, patterns: [...patterns] };
      const { answers, missing } = await control.request('channels', question, timeoutMs);
      const totals = new Map<string, number>();
      for (const { answer } of answers) {
        for (const [name, subscribers] of answer as unknown as ChannelCount[]) {
          totals.set(name, (totals.get(name) ?? 0) + subscribers);
        }
      }
      const names = [...totals.keys()].sort();
      const page = names.slice(0, limit);
      return {
        channels: page.map((channel) => ({ channel, subscribers: totals.get(channel)! })),
        cursor: names.length > limit ? page.at(-1)! : null,
        ...withMissing(missing),
      };
    },
    async stats() {
      const { answers, missing } = await control.request('stats', null, timeoutMs);
      const nodes = answers.map(({ answer }) => answer as unknown as NodeStats);
      return {
        nodes,
        connections: nodes.reduce((sum, node) => sum + node.connections, 0),
        subscriptions: nodes.reduce((sum, node) => sum + node.subscriptions, 0),
        channels: nodes.reduce((sum, node) => sum + node.channels, 0),
        rates: sumRates(nodes),
        ...withMissing(missing),
      };
    },
  };
};
