// Reads a channel's history for clients and for the server API, and says when a position cannot be continued from.
import type { Broker } from '../../broker/broker.ts';
import type { HistoryStart } from '../../broker/history.ts';
import type { Publication } from '../../broker/publication.ts';
import { DEFAULT_HISTORY_LIMIT } from '../../protocol/limits.ts';
import type { Since } from '../../protocol/position.ts';
import type { HistoryMessage } from '../../protocol/replies.ts';
import { Failure } from '../failure.ts';
import type { NamespaceConfig } from '../config/namespaces.ts';

export interface ReadOrder {
  readonly channel: string;
  /** Absent: from the oldest kept (with `reverse`: from the newest). */
  readonly since?: Since | undefined;
  readonly limit?: number | undefined;
  readonly reverse?: boolean | undefined;
}

export interface HistoryAnswer {
  readonly channel: string;
  readonly epoch: string;
  /** Head of the channel at the moment of the read. */
  readonly offset: number;
  readonly messages: HistoryMessage[];
  readonly more: boolean;
}

/** Bytes of publications in one answer; a page that would be larger ends earlier, with `more`. */
const MAX_PAGE_BYTES = 512 * 1024;

/** As many publications as fit, at least one. */
const fitting = (publications: readonly Publication[]): readonly Publication[] => {
  let bytes = 0;
  const end = publications.findIndex(({ body }, index) => (bytes += body.length) > MAX_PAGE_BYTES && index > 0);
  return end === -1 ? publications : publications.slice(0, end);
};

export interface HistoryReading {
  /** Rejects with `Failure` (unrecoverablePosition, notAvailable) or `BrokerUnavailableError`. */
  read(order: ReadOrder): Promise<HistoryAnswer>;
}

const startOf = (since: Since | undefined): HistoryStart => {
  if (since === undefined || since === 'earliest') return { kind: 'earliest' };
  return 'last' in since ? { kind: 'last', count: since.last } : { kind: 'after', offset: since.offset };
};

const messageOf = ({ offset, body }: Publication): HistoryMessage => ({
  offset,
  ...(JSON.parse(body.toString()) as Omit<HistoryMessage, 'offset'>),
});

export const createHistoryReading = (
  broker: Broker,
  namespaceOf: (channel: string) => NamespaceConfig,
): HistoryReading => ({
  async read({ channel, since, limit = DEFAULT_HISTORY_LIMIT, reverse = false }) {
    const namespace = namespaceOf(channel);
    if (namespace.class === 'ephemeral') throw new Failure('notAvailable', 'an ephemeral channel keeps no history');
    const bounds = namespace.history;
    const page = await broker.history.read({ channel, start: startOf(since), limit, reverse, bounds });
    const { epoch, offset } = page.position;
    if (typeof since === 'object' && 'epoch' in since) {
      if (since.epoch !== epoch) throw new Failure('unrecoverablePosition', `since: the channel is in epoch ${epoch}`);
      if (since.offset > offset) throw new Failure('unrecoverablePosition', `since: the channel's head is ${offset}`);
    }
    const publications = fitting(page.publications);
    const more = page.more || publications.length < page.publications.length;
    return { channel, epoch, offset, messages: publications.map(messageOf), more };
  },
});
