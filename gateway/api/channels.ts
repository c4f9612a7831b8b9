// `GET /v1/channels…`: what is going on in channels, cluster-wide, and what they still hold.
import type { History } from '../../broker/history.ts';
import { parseChannel, parseChannelsQuery, parseHistoryQuery } from '../../protocol/http-requests.ts';
import type { ApiKey } from '../access/api-keys.ts';
import type { HistoryReading } from '../channels/reading.ts';
import { writeHistoryPage } from '../dialects/history-page.ts';
import { Failure } from '../failure.ts';
import type { RequestHead } from '../transports/http.ts';
import { json, jsonText } from './answers.ts';
import type { ApiRoute } from './api-route.ts';
import type { ClusterView } from './cluster-view.ts';
import { accepted } from './request-body.ts';

export interface ChannelRouteOptions {
  readonly history: History;
  readonly reading: HistoryReading;
  readonly cluster: ClusterView;
}

/** The channel of the path, when the key may read it. */
const readableChannel = (request: RequestHead, key: ApiKey): string => {
  const channel = accepted(parseChannel(request.params[0] ?? ''));
  if (!key.may('read', channel)) {
    throw new Failure('permissionDenied', `the API key ${key.name} may not read ${channel}`);
  }
  return channel;
};

export const createChannelRoutes = ({ history, reading, cluster }: ChannelRouteOptions): ApiRoute[] => [
  {
    method: 'get',
    path: '/v1/channels',
    access: 'read',
    async handle({ request, key }) {
      return json(await cluster.channels(accepted(parseChannelsQuery(request.query)), key.patterns));
    },
  },
  {
    method: 'get',
    path: '/v1/channels/:channel',
    access: 'read',
    async handle({ request, key }) {
      const channel = readableChannel(request, key);
      if (!reading.isNumbered(channel)) return json(await cluster.channel(channel));
      const [positions, counts] = await Promise.all([history.positions([channel]), cluster.channel(channel)]);
      return json({ ...positions[0], ...counts });
    },
  },
  {
    method: 'get',
    path: '/v1/channels/:channel/history',
    access: 'read',
    async handle({ request, key }) {
      const channel = readableChannel(request, key);
      const { since_epoch: epoch, since_offset: offset, limit, reverse } = accepted(parseHistoryQuery(request.query));
      const since = epoch === undefined || offset === undefined ? undefined : { epoch, offset };
      return jsonText(writeHistoryPage({}, await reading.read({ channel, since, limit, reverse })));
    },
  },
];
