// One way into the log for every publisher: checks the size, writes the body once, hands it to the broker.
import type { Broker, PublishResult } from '../../broker/broker.ts';
import { errorCodes } from '../../protocol/codes.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { NamespaceConfig } from '../config/namespaces.ts';

export interface PublishOrder {
  readonly channel: string;
  /** Any JSON value. */
  readonly data: unknown;
  readonly key?: string | undefined;
  readonly messageId?: string | undefined;
  /** Stamped by the server; absent for publications by API key. */
  readonly publisher?: { readonly user?: string | undefined; readonly connection: string };
  readonly source: 'http' | 'client';
}

export interface Publishing {
  /**
   * Resolves with the position once the publication is in the log. Calls for one channel keep their order.
   * Rejects with `Failure`: limitExceeded, notAvailable, brokerUnavailable (outcome unknown: retry with the same messageId).
   */
  publish(order: PublishOrder): Promise<PublishResult>;
}

export interface PublishingOptions {
  readonly broker: Broker;
  readonly namespaceOf: (channel: string) => NamespaceConfig;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
}

/** The parser goes deeper than the writer: what only the first can do is the sender's error. */
const dataText = (data: unknown): string => {
  try {
    return JSON.stringify(data);
  } catch (error) {
    if (error instanceof RangeError) throw new Failure('badRequest', 'data: expected less deeply nested JSON');
    throw error;
  }
};

/** `{"data":…,"key":…,"publisher":…,"time":…}`: the form that dialects splice into messages without parsing. */
const bodyOf = (order: PublishOrder, timeMs: number): Buffer => {
  let text = `{"data":${dataText(order.data)},`;
  if (order.key !== undefined) text += `"key":${JSON.stringify(order.key)},`;
  if (order.publisher !== undefined) text += `"publisher":${JSON.stringify(order.publisher)},`;
  return Buffer.from(`${text}"time":${timeMs}}`);
};

export const createPublishing = ({ broker, namespaceOf, metrics, clock }: PublishingOptions): Publishing => {
  const publish = async (order: PublishOrder): Promise<PublishResult> => {
    const namespace = namespaceOf(order.channel);
    if (namespace.class === 'ephemeral')
      throw new Failure('notAvailable', 'ephemeral channels are not available on this node');
    const timeMs = clock.nowMs();
    const body = bodyOf(order, timeMs);
    if (namespace.maxMessageBytes !== undefined && body.length > namespace.maxMessageBytes) {
      const message = `data: expected a message of at most ${namespace.maxMessageBytes} bytes, got ${body.length}`;
      throw new Failure('limitExceeded', message);
    }
    const startedMs = clock.monotonicMs();
    const { channel, key, messageId } = order;
    const result = await broker.publish({ channel, body, timeMs, key, messageId, history: namespace.history });
    metrics.observe('weir_publish_duration_seconds', (clock.monotonicMs() - startedMs) / 1000);
    if (result.duplicate) metrics.count('weir_publications_duplicate_total');
    else {
      metrics.hot.published++;
      metrics.count('weir_publications_total', { source: order.source });
    }
    return result;
  };
  return {
    publish: (order) =>
      publish(order).catch((thrown: unknown) => {
        const name = thrown instanceof Failure ? thrown.code.name : errorCodes.brokerUnavailable.name;
        metrics.count('weir_publish_errors_total', { name });
        throw thrown;
      }),
  };
};
