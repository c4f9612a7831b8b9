// `POST /v1/publish` and `POST /v1/batch`: backends hand publications to the log.
import type { ItemError, PublishAnswer, PublishBody, PublishResults } from '../../protocol/http.ts';
import { type BatchItem, parseBatch, parsePublish } from '../../protocol/http-requests.ts';
import { MAX_BATCH_COMMANDS } from '../../protocol/limits.ts';
import { describeProblems } from '../../protocol/validate.ts';
import type { ApiKey } from '../access/api-keys.ts';
import type { ApiKeyLimits } from '../access/limits/api-key-limits.ts';
import type { Published, Publishing, WrittenContent } from '../channels/publishing.ts';
import { Failure } from '../failure.ts';
import { json } from './answers.ts';
import type { ApiRoute } from './api-route.ts';
import type { ClusterView } from './cluster-view.ts';
import { accepted, parseJson, RequestRefused } from './request-body.ts';

export interface PublishRouteOptions {
  readonly publishing: Publishing;
  readonly cluster: ClusterView;
  readonly apiKeyLimits: ApiKeyLimits;
  /** Any thrown value as what the caller may know of it. */
  readonly toFailure: (thrown: unknown) => Failure;
}

/** What one request may hand to the broker by naming many channels for one body, bytes: it is sent once per channel. */
const MAX_COPIED_BYTES = 16 * 1024 * 1024;

/** Keeps account of the copies that one request asks for. */
interface CopyBudget {
  /** Throws `Failure` limitExceeded when the bound would be passed. */
  take(channels: number, bodyBytes: number): void;
}

const createCopyBudget = (): CopyBudget => {
  let leftBytes = MAX_COPIED_BYTES;
  return {
    take(channels, bodyBytes) {
      // Without copies the bound of the request's body is the bound.
      const bytes = channels > 1 ? channels * bodyBytes : 0;
      if (bytes > leftBytes) {
        const message = `channels: expected at most ${MAX_COPIED_BYTES} bytes over all channels of a request, got ${channels} times ${bodyBytes}`;
        throw new Failure('limitExceeded', message);
      }
      leftBytes -= bytes;
    },
  };
};

const publicationsOf = (item: BatchItem): number =>
  item.kind === 'publish' ? (item.publish.channels?.length ?? 1) : 1;

/** How many publications a batch is. It may not multiply its bound by naming many channels per command. */
const requireBoundedBatch = (items: readonly BatchItem[]): number => {
  const publications = items.reduce((sum, item) => sum + publicationsOf(item), 0);
  if (publications <= MAX_BATCH_COMMANDS) return publications;
  const expected = `at most ${MAX_BATCH_COMMANDS} publications, one per command and channel`;
  const problems = [{ path: 'commands', expected, got: String(publications) }];
  throw new RequestRefused({ kind: 'invalid', error: 'limitExceeded', problems });
};

const itemError = (channel: string | undefined, failure: Failure): ItemError => {
  const { code, name, temporary } = failure.code;
  const { message, retryAfterMs } = failure;
  const error = { code, name, message, temporary, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  return channel === undefined ? { error } : { channel, error };
};

type ItemAnswer = PublishAnswer | PublishResults | ItemError;

/**
 * `count` results in their places, at least one. `start` begins each in order; its `put` is called once, now or later: no async
 * function and promise for each of the publications, of which there are tens of thousands per second.
 */
const gather = <T>(count: number, start: (index: number, put: (result: T) => void) => void): Promise<T[]> =>
  new Promise((resolve) => {
    const results = new Array<T>(count);
    let open = count;
    for (let index = 0; index < count; index++) {
      start(index, (result) => {
        results[index] = result;
        if (--open === 0) resolve(results);
      });
    }
  });

export const createPublishRoutes = ({
  publishing,
  cluster,
  apiKeyLimits,
  toFailure,
}: PublishRouteOptions): ApiRoute[] => {
  /** Throws `Failure` badRequest or limitExceeded: then nothing of the body was published. */
  const write = ({ channels, data, key }: PublishBody, copies: CopyBudget): WrittenContent => {
    const content = publishing.write({ data, key });
    copies.take(channels?.length ?? 1, content.body.length);
    return content;
  };

  /** Hands the publication over. Throws `Failure` permissionDenied. */
  const begin = (
    key: ApiKey,
    channel: string,
    content: WrittenContent,
    { messageId }: PublishBody,
  ): Promise<Published> => {
    if (!key.may('publish', channel)) {
      throw new Failure('permissionDenied', `the API key ${key.name} may not publish to ${channel}`);
    }
    return publishing.publish({ channel, content, messageId, source: 'http' });
  };

  const withReach = async (answer: PublishAnswer, result: Published): Promise<PublishAnswer> => {
    // Without a position nobody can tell when it was sent: who listens now.
    if (result.epoch !== undefined) return { ...answer, ...(await cluster.reached(answer.channel, result)) };
    const { nodes, subscribers } = await cluster.channel(answer.channel);
    return { ...answer, nodes, subscribers };
  };

  const answerWith = (
    channel: string,
    result: Published,
    ack: PublishBody['ack'],
  ): PublishAnswer | Promise<PublishAnswer> => {
    const { epoch, offset, duplicate } = result;
    const answer = { channel, epoch, offset, duplicate };
    return ack === 'fanout' ? withReach(answer, result) : answer;
  };

  /** Puts the answer, or what went wrong in its place. */
  const publishOne = (
    key: ApiKey,
    channel: string,
    content: WrittenContent,
    body: PublishBody,
    put: (answer: PublishAnswer | ItemError) => void,
  ): void => {
    const { ack } = body;
    const fail = (thrown: unknown): void => put(itemError(channel, toFailure(thrown)));
    try {
      begin(key, channel, content, body).then((result) => {
        const answer = answerWith(channel, result, ack);
        if (answer instanceof Promise) answer.then(put, fail);
        else put(answer);
      }, fail);
    } catch (thrown) {
      fail(thrown);
    }
  };

  /** One result per channel; an error of one does not touch the others. */
  const publishToAll = async (
    key: ApiKey,
    channels: readonly string[],
    content: WrittenContent,
    body: PublishBody,
  ): Promise<PublishResults> => ({
    results: await gather(channels.length, (index, put: (answer: PublishAnswer | ItemError) => void) =>
      publishOne(key, channels[index]!, content, body, put),
    ),
  });

  /** Runs up to the broker before it returns, so that order is kept. */
  const runItem = (key: ApiKey, item: BatchItem, copies: CopyBudget, put: (answer: ItemAnswer) => void): void => {
    if (item.kind === 'invalid') {
      put(itemError(undefined, new Failure(item.error, describeProblems(item.problems))));
      return;
    }
    const { publish: body } = item;
    let content: WrittenContent;
    try {
      content = write(body, copies);
    } catch (thrown) {
      put(itemError(body.channel, toFailure(thrown)));
      return;
    }
    if (body.channels !== undefined) void publishToAll(key, body.channels, content, body).then(put);
    else publishOne(key, body.channel, content, body, put);
  };

  return [
    {
      method: 'post',
      path: '/v1/publish',
      access: 'publish',
      async handle({ request, key }) {
        const body = accepted(parsePublish(parseJson(request.body)));
        apiKeyLimits.takePublications(key.name, body.channels?.length ?? 1);
        const content = write(body, createCopyBudget());
        if (body.channels !== undefined) return json(await publishToAll(key, body.channels, content, body));
        const result = await begin(key, body.channel, content, body);
        return json(await answerWith(body.channel, result, body.ack));
      },
    },
    {
      method: 'post',
      path: '/v1/batch',
      access: 'publish',
      async handle({ request, key }) {
        const items = accepted(parseBatch(parseJson(request.body)));
        apiKeyLimits.takePublications(key.name, requireBoundedBatch(items));
        const copies = createCopyBudget();
        // All are handed over in the order of the request before any is awaited: order per channel is kept.
        return json({
          results: await gather(items.length, (index, put: (answer: ItemAnswer) => void) =>
            runItem(key, items[index]!, copies, put),
          ),
        });
      },
    },
  ];
};
