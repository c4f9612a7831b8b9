// Row "Latency": how old a message is when it leaves, and where the time went.
import type { RowDefinition } from '../../panels.ts';
import { q } from '../scope.ts';

export const latency: RowDefinition = {
  title: 'Latency',
  panels: [
    {
      kind: 'lines',
      title: 'Publish to flush',
      description:
        'From acceptance on any node to the flush on this one, oldest publication of each flush. Clock skew between nodes is included.',
      unit: 's',
      warnAbove: 0.1,
      queries: [
        { expr: q.quantile(0.5, 'weir_delivery_latency_seconds'), legend: 'p50' },
        { expr: q.quantile(0.99, 'weir_delivery_latency_seconds'), legend: 'p99' },
        { expr: q.quantile(0.999, 'weir_delivery_latency_seconds'), legend: 'p99.9' },
      ],
    },
    {
      kind: 'lines',
      title: 'Publish to flush, p99 by node',
      description:
        'One node above the others: its event loop (row Process) or its link to the broker. All alike: the broker.',
      unit: 's',
      queries: [{ expr: q.quantile(0.99, 'weir_delivery_latency_seconds', ['instance']), legend: '{{instance}}' }],
    },
    {
      kind: 'heatmap',
      title: 'Publish to flush, distribution',
      description: 'Two bands mean two causes: usually live delivery and delivery after an interruption.',
      unit: 's',
      queries: [{ expr: q.buckets('weir_delivery_latency_seconds'), legend: '{{le}}' }],
    },
    {
      kind: 'lines',
      title: 'Broker round trip of a publish',
      description:
        'Grows first when Redis or the network to it is slow. If it is flat and publish to flush grows, the time is lost in the node.',
      unit: 's',
      queries: [
        { expr: q.quantile(0.5, 'weir_publish_duration_seconds'), legend: 'p50' },
        { expr: q.quantile(0.99, 'weir_publish_duration_seconds'), legend: 'p99' },
      ],
    },
    {
      kind: 'lines',
      title: 'HTTP, p99 by route',
      description: 'Head of the request to the answer, without the way to the node.',
      unit: 's',
      queries: [{ expr: q.quantile(0.99, 'weir_http_request_duration_seconds', ['route']), legend: '{{route}}' }],
    },
    {
      kind: 'lines',
      title: 'Flush',
      description:
        'Time one flush takes, all slices. Above the coalescing delay the node cannot keep up with its audience.',
      unit: 's',
      queries: [
        { expr: q.quantile(0.5, 'weir_flush_duration_seconds'), legend: 'p50' },
        { expr: q.quantile(0.99, 'weir_flush_duration_seconds'), legend: 'p99' },
      ],
    },
  ],
};
