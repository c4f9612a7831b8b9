// Row "Broker": does the backplane take publications, and do they come back to every node.
import type { RowDefinition } from '../../panels.ts';
import { ratio, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const broker: RowDefinition = {
  title: 'Broker',
  panels: [
    {
      kind: 'lines',
      title: 'Ready by node',
      description: '0 on one node: its link. 0 on all nodes: Redis itself. Clients were told `degraded`.',
      unit: 'none',
      max: 1,
      queries: [{ expr: q.value('weir_broker_ready'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Publish p99 by node',
      description: 'Round trip of a publish.',
      unit: 's',
      queries: [{ expr: q.quantile(0.99, 'weir_publish_duration_seconds', ['instance']), legend: '{{instance}}' }],
    },
    {
      kind: 'stacked',
      title: 'Publishes that failed',
      description:
        'By error name. `broker_unavailable` is temporary: publishers are told to retry with the same messageId.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_publish_errors_total'), 'name'), legend: '{{name}}' }],
    },
    {
      kind: 'lines',
      title: 'Interruptions (5 m)',
      description:
        'Times the path on which publications arrive was cut. Repeated ones: the output buffer limit of Redis, or the network.',
      unit: 'none',
      queries: [
        { expr: sum(q.increase('weir_broker_interruptions_total', {}, '5m'), 'instance'), legend: '{{instance}}' },
      ],
    },
    {
      kind: 'lines',
      title: 'Channels healed',
      description:
        'After an interruption each channel is compared with the log. `complete` lost nothing, `gap` had to tell its subscribers.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_heals_total'), 'outcome'), legend: '{{outcome}}' }],
    },
    {
      kind: 'lines',
      title: 'Driver errors',
      description: 'Background errors of the broker driver by stage.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_broker_errors_total'), 'stage'), legend: '{{stage}}' }],
    },
    {
      kind: 'lines',
      title: 'Deaf nodes',
      description:
        '1 while a node publishes and does not hear its own canary. Its clients are told `degraded` and move when another node is ready.',
      unit: 'none',
      max: 1,
      queries: [{ expr: q.value('weir_node_deaf'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Became deaf (1 h)',
      description: 'Repeated on one node: what stands between it and Redis. On all nodes: pub/sub of Redis itself.',
      unit: 'none',
      queries: [{ expr: sum(q.increase('weir_node_deaf_total', {}, '1h'), 'instance'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Received from the backplane',
      description: 'Publications each node heard for its subscribers; canaries do not count.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_publications_received_total'), 'instance'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Copies per publication',
      description: 'Received by all nodes per publication acknowledged: the mean number of nodes that serve a channel.',
      unit: 'none',
      queries: [
        {
          expr: ratio(sum(q.rate('weir_publications_received_total')), sum(q.rate('weir_publications_total'))),
          legend: 'copies',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'Mean publish round trip',
      description: 'Beside the p99: a mean that follows it is a slow broker, a flat mean is a few slow calls.',
      unit: 's',
      queries: [{ expr: q.mean('weir_publish_duration_seconds', ['instance']), legend: '{{instance}}' }],
    },
  ],
};
