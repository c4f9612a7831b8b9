// Sends reads of channel logs to the shard that owns the channel.
import { BrokerUnavailableError, type ChannelPosition } from '../broker.ts';
import type { History } from '../history.ts';
import type { Shard } from './shard.ts';

export const createHistoryRouter = (shardOf: (channel: string) => Shard | undefined): History => {
  const historyOf = (channel: string): History => {
    const shard = shardOf(channel);
    if (shard === undefined) throw new BrokerUnavailableError('not connected to Redis');
    return shard.history;
  };

  return {
    async read(query) {
      return historyOf(query.channel).read(query);
    },
    async positions(channels) {
      const indexes = new Map<History, number[]>();
      channels.forEach((channel, index) => {
        const history = historyOf(channel);
        const group = indexes.get(history);
        if (group === undefined) indexes.set(history, [index]);
        else group.push(index);
      });
      const positions = new Array<ChannelPosition>(channels.length);
      await Promise.all(
        [...indexes].map(async ([history, group]) => {
          const read = await history.positions(group.map((index) => channels[index]!));
          for (const [i, index] of group.entries()) positions[index] = read[i]!;
        }),
      );
      return positions;
    },
  };
};
