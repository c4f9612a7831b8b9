// Tests of composing queries: misuse is refused when the dashboard is built, not when it is needed.
import { describe, expect, it } from 'vitest';
import { metricsNamedIn } from './catalog.ts';
import { createPromql, MetricUseError, ratio, sum } from './promql.ts';

const q = createPromql({
  window: '5m',
  matchers: {
    weir: { job: 'weir', instance: '=~$instance' },
    haproxy: { job: 'haproxy' },
    balancer: { job: 'balancer' },
  },
});

describe('composing queries', () => {
  it('refuses a label the metric does not have', () => {
    expect(() => q.rate('weir_connections_closed_total', { reason: 'x' })).toThrow(
      new MetricUseError('weir_connections_closed_total has no label "reason"; it has: code'),
    );
  });

  it('refuses a rate of a gauge, a counter as a value and a quantile of either', () => {
    expect(() => q.rate('weir_connections')).toThrow('weir_connections is a gauge, used as a counter');
    expect(() => q.value('weir_deliveries_total')).toThrow('weir_deliveries_total is a counter, used as a gauge');
    expect(() => q.quantile(0.99, 'weir_connections')).toThrow('weir_connections is a gauge, used as a histogram');
  });

  it('does not compile with a metric nobody declared', () => {
    // @ts-expect-error -- the point of the test: the name is not declared
    expect(() => q.value('weir_conections')).toThrow();
  });

  it('adds the matchers of the job and quotes values', () => {
    expect(q.rate('weir_http_requests_total', { status: '=~5..', route: '/a"b' })).toBe(
      'rate(weir_http_requests_total{job="weir",instance=~"$instance",status=~"5..",route="/a\\"b"}[5m])',
    );
    expect(q.value('haproxy_backend_current_queue')).toBe('haproxy_backend_current_queue{job="haproxy"}');
  });

  it('keeps the bucket label under a quantile', () => {
    expect(q.quantile(0.5, 'weir_flush_duration_seconds', ['instance'])).toContain('sum by (instance, le) (rate(');
  });

  it('gives no value, not an absurd one, for a share of nothing', () => {
    expect(ratio('a', sum('b'))).toBe('a / (sum(b) > 0)');
  });
});

describe('names in queries', () => {
  it('takes the series of a histogram for the histogram', () => {
    expect([...metricsNamedIn('rate(weir_flush_duration_seconds_bucket[1m]) + weir_connections')]).toEqual([
      'weir_flush_duration_seconds',
      'weir_connections',
    ]);
  });

  it('sees a name nobody declared', () => {
    expect([...metricsNamedIn('weir_bogus_total > 0')]).toEqual(['weir_bogus_total']);
  });
});
