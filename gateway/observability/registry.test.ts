import fc from 'fast-check';
import { Counter, Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { metricDeclarations } from './metrics.ts';
import { createMetricsRegistry } from './registry.ts';

/** The block of one metric in the text format, its lines in order of their text. */
const linesOf = (text: string, name: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`# HELP ${name} `) || new RegExp(`^${name}(_bucket|_sum|_count)?[{ ]`).test(line))
    // prom-client and we may name labels in another order.
    .map((line) => line.replace(/\{(.*)\}/, (_, labels: string) => `{${labels.split(',').sort().join(',')}}`))
    .sort();

const seconds = fc.oneof(
  fc.double({ min: 0, max: 20, noNaN: true }),
  fc.constantFrom(...metricDeclarations.weir_publish_duration_seconds.buckets!),
);
const route = fc.constantFrom('/v1/publish', '/v1/batch', 'a"b', 'back\\slash');
const status = fc.constantFrom('200', '503');

describe('metrics registry', () => {
  it('shows the same distributions as prom-client kept them, without labels', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(seconds, { maxLength: 30 }), async (values) => {
        const { help, buckets } = metricDeclarations.weir_publish_duration_seconds;
        const name = 'weir_publish_duration_seconds';
        const registers = [new Registry()];
        const reference = new Histogram({ name, help, buckets: [...buckets!], registers });
        const metrics = createMetricsRegistry();
        for (const value of values) {
          reference.observe(value);
          metrics.observe(name, value);
        }
        expect(linesOf(await metrics.exposition(), name)).toEqual(linesOf(await registers[0]!.metrics(), name));
      }),
      { numRuns: 20 },
    );
  });

  it('shows the same distributions as prom-client kept them, by label', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(route, seconds), { maxLength: 30 }), async (observed) => {
        const name = 'weir_http_request_duration_seconds';
        const { help, buckets, labels } = metricDeclarations[name];
        const registers = [new Registry()];
        const labelNames = [...labels];
        const reference = new Histogram({ name, help, buckets: [...buckets!], labelNames, registers });
        const metrics = createMetricsRegistry();
        for (const [label, value] of observed) {
          reference.observe({ route: label }, value);
          metrics.observe(name, value, { route: label });
        }
        expect(linesOf(await metrics.exposition(), name)).toEqual(linesOf(await registers[0]!.metrics(), name));
      }),
      { numRuns: 20 },
    );
  });

  it('shows the same counts as prom-client kept them, by two labels', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(route, status, fc.nat(5)), { maxLength: 30 }), async (counted) => {
        const name = 'weir_http_requests_total';
        const { help, labels } = metricDeclarations[name];
        const registers = [new Registry()];
        const reference = new Counter({ name, help, labelNames: [...labels], registers });
        const metrics = createMetricsRegistry();
        for (const [label, code, by] of counted) {
          reference.inc({ route: label, status: code }, by);
          metrics.count(name, { route: label, status: code }, by);
        }
        // Twice: a scrape takes nothing away.
        await metrics.exposition();
        expect(linesOf(await metrics.exposition(), name)).toEqual(linesOf(await registers[0]!.metrics(), name));
      }),
      { numRuns: 20 },
    );
  });

  it('shows counters before their first event: without labels, and of known values', async () => {
    const text = await createMetricsRegistry().exposition();
    expect(text).toContain('\nweir_node_deaf_total 0\n');
    expect(text).toContain('\nweir_publications_total{source="http"} 0\n');
    expect(text).toContain('\nweir_publish_duration_seconds_count 0\n');
  });

  it('refuses labels that the metric does not have, values that are none, and metrics of another kind', () => {
    const metrics = createMetricsRegistry();
    expect(() => metrics.count('weir_http_requests_total', { where: 'x' })).toThrow(/where is no label/);
    expect(() => metrics.count('weir_http_requests_total', { route: '/', status: '200' }, -1)).toThrow(/count up/);
    expect(() => metrics.observe('weir_publish_duration_seconds', NaN)).toThrow(/expected a number/);
    expect(() => metrics.count('weir_publish_duration_seconds')).toThrow(/no.*counter/);
    expect(() => metrics.observe('weir_publications_total', 1)).toThrow(/not a histogram/);
  });
});
