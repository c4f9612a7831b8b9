// Reads a channel's history for clients and for the server API, and says when a position cannot be continued from.
import type { Broker } from '../../broker/broker.ts';
import type { HistoryPage, HistoryQuery, HistoryStart } from '../../broker/history.ts';
import type { Publication } from '../../broker/publication.ts';
import { DEFAULT_HISTORY_LIMIT } from '../../protocol/limits.ts';
import type { Since } from '../../protocol/position.ts';
import type { StoredHistory } from '../dialects/history-page.ts';
import { Failure } from '../failure.ts';
import type { NamespaceConfig } from '../config/namespaces.ts';

export interface ReadOrder {
  readonly channel: string;
  /** Absent: from the oldest kept (with `reverse`: from the newest). */
  readonly since?: Since | undefined;
  readonly limit?: number | undefined;
  readonly reverse?: boolean | undefined;
}

/** Bytes of publications in one answer; a page that would be larger ends earlier, with `more`. */
const MAX_PAGE_BYTES = 512 * 1024;

const bytesOf = (publications: readonly Publication[]): number =>
  publications.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);

/** As many publications as fit, at least one. */
const fitting = (publications: readonly Publication[]): readonly Publication[] => {
  let bytes = 0;
  const end = publications.findIndex(({ bodyBytes }, index) => (bytes += bodyBytes) > MAX_PAGE_BYTES && index > 0);
  return end === -1 ? publications : publications.slice(0, end);
};

export interface HistoryReading {
  /** Rejects with `Failure` (unrecoverablePosition, notAvailable) or `BrokerUnavailableError`. */
  read(order: ReadOrder): Promise<StoredHistory>;
  /** False for ephemeral channels: they have neither history nor positions. */
  isNumbered(channel: string): boolean;
}

const startOf = (since: Since | undefined): HistoryStart => {
  if (since === undefined || since === 'earliest') return { kind: 'earliest' };
  return 'last' in since ? { kind: 'last', count: since.last } : { kind: 'after', offset: since.offset };
};

/** How many more publications may come: those asked for that also fit, judged by the size of those at hand. */
const roomFor = ({ start, limit }: HistoryQuery, { publications, more }: HistoryPage): number => {
  if (!more || publications.length === 0) return 0;
  const bytes = bytesOf(publications);
  const fitting = Math.floor(((MAX_PAGE_BYTES - bytes) * publications.length) / bytes);
  const wanted = start.kind === 'last' ? Math.min(limit, start.count) : limit;
  return Math.min(wanted - publications.length, fitting);
};

export const createHistoryReading = (
  broker: Broker,
  namespaceOf: (channel: string) => NamespaceConfig,
): HistoryReading => {
  /** Asks for a usual page first: only its size tells how many publications of a long one can be answered at all. */
  const readPage = async (query: HistoryQuery): Promise<HistoryPage> => {
    const { start, reverse } = query;
    const first = await broker.history.read({ ...query, limit: Math.min(query.limit, DEFAULT_HISTORY_LIMIT) });
    const limit = roomFor(query, first);
    if (limit <= 0) return first;
    const { position } = first;
    const last = first.publications.at(-1)!.offset;
    const rest = await broker.history.read({ ...query, start: { kind: 'after', offset: last }, limit });
    const joins = rest.position.epoch === position.epoch && rest.publications[0]?.offset === last + (reverse ? -1 : 1);
    if (!joins) return first;
    // What was published between the two reads belongs to a later page.
    const publications = [
      ...first.publications,
      ...rest.publications.filter(({ offset }) => offset <= position.offset),
    ];
    if (!reverse) return { position, publications, more: publications.at(-1)!.offset < position.offset };
    return { position, publications, more: rest.more && (start.kind !== 'last' || publications.length < start.count) };
  };

  const isNumbered = (channel: string): boolean => namespaceOf(channel).class !== 'ephemeral';

  return {
    isNumbered,
    async read({ channel, since, limit = DEFAULT_HISTORY_LIMIT, reverse = false }) {
      if (!isNumbered(channel))
        throw new Failure('notAvailable', `${channel} is ephemeral: it has neither history nor positions`);
      const bounds = namespaceOf(channel).history;
      const page = await readPage({ channel, start: startOf(since), limit, reverse, bounds });
      const { epoch, offset } = page.position;
      if (typeof since === 'object' && 'epoch' in since) {
        if (since.epoch !== epoch)
          throw new Failure('unrecoverablePosition', `since: the channel is in epoch ${epoch}`);
        if (since.offset > offset) throw new Failure('unrecoverablePosition', `since: the channel's head is ${offset}`);
      }
      const publications = fitting(page.publications);
      const more = page.more || publications.length < page.publications.length;
      return { channel, epoch, offset, publications, more };
    },
  };
};
