// One way into the log for every publisher: writes the body once, checks its size, hands it to the broker.
import { type Broker, BrokerUnavailableError, type PublishResult } from '../../broker/broker.ts';
import { errorCodes } from '../../protocol/codes.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { NamespaceConfig } from '../config/namespaces.ts';
import { payloadText } from './payload.ts';

export interface Content {
  /** Any JSON value. */
  readonly data: unknown;
  readonly key?: string | undefined;
  /** Stamped by the server; absent for publications by API key. */
  readonly publisher?: { readonly user?: string | undefined; readonly connection: string };
}

/** Content as the log keeps it; one body serves any number of channels. */
export interface WrittenContent {
  readonly body: Buffer;
  readonly timeMs: number;
  readonly key: string | undefined;
}

export interface PublishOrder {
  readonly channel: string;
  readonly content: WrittenContent;
  readonly messageId?: string | undefined;
  readonly source: 'http' | 'client';
}

export interface Publishing {
  /** Throws `Failure` badRequest when the data cannot be carried unchanged. */
  write(content: Content): WrittenContent;
  /**
   * Resolves with the position once the publication is in the log, or without one once an ephemeral message is on its way. Calls for one channel keep their order.
   * Rejects with `Failure` (limitExceeded, notAvailable), or with `BrokerUnavailableError` when the outcome is unknown:
   * a retry with the same messageId is safe.
   */
  publish(order: PublishOrder): Promise<Published>;
}

/** Who wants to know how much is published, and how long the broker takes. */
export interface PublishLoad {
  handlePublishing(source: PublishOrder['source']): void;
  /** It was confirmed after so long, ms, or failed. */
  handlePublished(source: PublishOrder['source'], durationMs: number | undefined): void;
}

/** On an ephemeral channel there is no position; the nodes that listen were told, and nobody remembers message ids. */
export type Published = PublishResult | { readonly duplicate: false; readonly epoch?: never; readonly offset?: never };

export interface PublishingOptions {
  readonly broker: Broker;
  readonly load: PublishLoad;
  readonly namespaceOf: (channel: string) => NamespaceConfig;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
}

/** `{"data":…,"key":…,"publisher":…,"time":…}`: the form that dialects splice into messages without parsing. */
const bodyOf = ({ data, key, publisher }: Content, timeMs: number): Buffer => {
  let text = `{"data":${payloadText(data)},`;
  if (key !== undefined) text += `"key":${JSON.stringify(key)},`;
  if (publisher !== undefined) text += `"publisher":${JSON.stringify(publisher)},`;
  return Buffer.from(`${text}"time":${timeMs}}`);
};

const LABELS_OF = { http: { source: 'http' }, client: { source: 'client' } } as const;

/** The name under which a failed publish is counted. */
const failureName = (thrown: unknown): string => {
  if (thrown instanceof Failure) return thrown.code.name;
  return (thrown instanceof BrokerUnavailableError ? errorCodes.brokerUnavailable : errorCodes.internal).name;
};

export const createPublishing = ({ broker, namespaceOf, metrics, clock, load }: PublishingOptions): Publishing => {
  const countFailure = (thrown: unknown): void => {
    metrics.count('weir_publish_errors_total', { name: failureName(thrown) });
  };

  /** `undefined` while the message is not too large. */
  const sizeProblem = ({ maxMessageBytes }: NamespaceConfig, body: Buffer): Failure | undefined => {
    if (maxMessageBytes === undefined || body.length <= maxMessageBytes) return undefined;
    const message = `data: expected a message of at most ${maxMessageBytes} bytes, got ${body.length}`;
    return new Failure('limitExceeded', message);
  };

  // One function and one promise beside the broker's: there are tens of thousands of these per second.
  const publish = async ({ channel, content, messageId, source }: PublishOrder): Promise<Published> => {
    let isUnderWay = false;
    try {
      const namespace = namespaceOf(channel);
      const { body, timeMs, key } = content;
      const tooLarge = sizeProblem(namespace, body);
      if (tooLarge !== undefined) throw tooLarge;
      const startedMs = clock.monotonicMs();
      load.handlePublishing(source);
      isUnderWay = true;
      const result: Published =
        namespace.class === 'ephemeral'
          ? await broker.publishEphemeral({ channel, body, timeMs, key }).then(() => ({ duplicate: false }))
          : await broker.publish({ channel, body, timeMs, key, messageId, history: namespace.history });
      const durationMs = clock.monotonicMs() - startedMs;
      isUnderWay = false;
      load.handlePublished(source, durationMs);
      metrics.observe('weir_publish_duration_seconds', durationMs / 1000);
      if (result.duplicate) metrics.count('weir_publications_duplicate_total');
      else {
        metrics.hot.published++;
        metrics.count('weir_publications_total', LABELS_OF[source]);
      }
      return result;
    } catch (thrown) {
      if (isUnderWay) load.handlePublished(source, undefined);
      countFailure(thrown);
      throw thrown;
    }
  };

  return {
    write(content) {
      try {
        const timeMs = clock.nowMs();
        return { body: bodyOf(content, timeMs), timeMs, key: content.key };
      } catch (thrown) {
        countFailure(thrown);
        throw thrown;
      }
    },
    publish,
  };
};
