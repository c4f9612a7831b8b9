// `POST /v1/publish` and `POST /v1/batch`: backends hand publications to the log.
import type { PublishResult } from '../../broker/broker.ts';
import type { ItemError, PublishAnswer, PublishBody, PublishResults } from '../../protocol/http.ts';
import { type BatchItem, parseBatch, parsePublish } from '../../protocol/http-requests.ts';
import { describeProblems } from '../../protocol/validate.ts';
import type { ApiKey } from '../access/api-keys.ts';
import type { Publishing } from '../channels/publishing.ts';
import { Failure } from '../failure.ts';
import { json } from './answers.ts';
import type { ApiRoute } from './api-route.ts';
import type { ClusterView } from './cluster-view.ts';
import { accepted, parseJson } from './request-body.ts';

export interface PublishRouteOptions {
  readonly publishing: Publishing;
  readonly cluster: ClusterView;
  /** Any thrown value as what the caller may know of it. */
  readonly toFailure: (thrown: unknown) => Failure;
}

const itemError = (channel: string | undefined, failure: Failure): ItemError => {
  const { code, name, temporary } = failure.code;
  const { message, retryAfterMs } = failure;
  const error = { code, name, message, temporary, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  return channel === undefined ? { error } : { channel, error };
};

export const createPublishRoutes = ({ publishing, cluster, toFailure }: PublishRouteOptions): ApiRoute[] => {
  const publishTo = async (key: ApiKey, channel: string, body: PublishBody): Promise<PublishAnswer> => {
    if (!key.may('publish', channel)) {
      throw new Failure('permissionDenied', `the API key ${key.name} may not publish to ${channel}`);
    }
    const { data, key: conflationKey, messageId, ack } = body;
    const order = { channel, data, key: conflationKey, messageId, source: 'http' } as const;
    const result: PublishResult = await publishing.publish(order);
    const answer = { channel, epoch: result.epoch, offset: result.offset, duplicate: result.duplicate };
    return ack === 'fanout' ? { ...answer, ...(await cluster.reached(channel, result)) } : answer;
  };

  /** One result per channel; an error of one does not touch the others. */
  const publishToAll = async (
    key: ApiKey,
    channels: readonly string[],
    body: PublishBody,
  ): Promise<PublishResults> => ({
    results: await Promise.all(
      channels.map((channel) =>
        publishTo(key, channel, body).catch((thrown: unknown) => itemError(channel, toFailure(thrown))),
      ),
    ),
  });

  const runItem = (key: ApiKey, item: BatchItem): Promise<PublishAnswer | PublishResults | ItemError> => {
    if (item.kind === 'invalid') {
      return Promise.resolve(itemError(undefined, new Failure(item.error, describeProblems(item.problems))));
    }
    const { publish } = item;
    if (publish.channels !== undefined) return publishToAll(key, publish.channels, publish);
    const { channel } = publish;
    return publishTo(key, channel, publish).catch((thrown: unknown) => itemError(channel, toFailure(thrown)));
  };

  return [
    {
      method: 'post',
      path: '/v1/publish',
      access: 'publish',
      async handle({ request, key }) {
        const body = accepted(parsePublish(parseJson(request.body)));
        if (body.channels !== undefined) return json(await publishToAll(key, body.channels, body));
        return json(await publishTo(key, body.channel, body));
      },
    },
    {
      method: 'post',
      path: '/v1/batch',
      access: 'publish',
      async handle({ request, key }) {
        const items = accepted(parseBatch(parseJson(request.body)));
        // All are handed over in the order of the request before any is awaited: order per channel is kept.
        return json({ results: await Promise.all(items.map((item) => runItem(key, item))) });
      },
    },
  ];
};
