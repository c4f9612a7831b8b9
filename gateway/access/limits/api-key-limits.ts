// How much one API key may publish by HTTP on this node.
import type { MetricsRegistry } from '../../observability/registry.ts';
import { LimitReached } from './limit-reached.ts';
import type { Rate } from './rate.ts';
import { createTokenBucket, type TokenBucket } from './token-bucket.ts';

export interface ApiKeyLimits {
  /** Takes all publications of a request or none. Throws `LimitReached`. `name` is one of the configured keys. */
  takePublications(name: string, count: number): void;
}

/** Without a rate nothing is limited. `nowMs` is monotonic. */
export const createApiKeyLimits = (
  rate: Rate | undefined,
  { metrics, nowMs }: { readonly metrics: MetricsRegistry; readonly nowMs: () => number },
): ApiKeyLimits => {
  const buckets = new Map<string, TokenBucket>();
  return {
    takePublications(name, count) {
      if (rate === undefined) return;
      let bucket = buckets.get(name);
      if (bucket === undefined) buckets.set(name, (bucket = createTokenBucket(rate)));
      const delayMs = bucket.take(nowMs(), count);
      if (delayMs === 0) return;
      metrics.count('weir_limited_total', { reason: 'api_key_publishes' });
      throw new LimitReached('api_key_publishes', `too many publications with the API key ${name}`, delayMs);
    },
  };
};
