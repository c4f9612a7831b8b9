// Row "Backpressure": who cannot keep up, what it costs in memory, and what was skipped for it.
import type { RowDefinition } from '../../panels.ts';
import { ratio, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const backpressure: RowDefinition = {
  title: 'Backpressure',
  panels: [
    {
      kind: 'lines',
      title: 'Buffered for sockets',
      description:
        'Bytes beyond the kernel buffers. A plateau is a few stalled clients, a steady climb is a node that sends more than its network takes.',
      unit: 'bytes',
      queries: [{ expr: q.value('weir_outbox_bytes'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Share of the memory budget',
      description: 'Buffered bytes against the configured budget.',
      unit: 'percentunit',
      max: 1,
      warnAbove: 0.8,
      queries: [
        { expr: `${q.value('weir_outbox_bytes')} / ${q.value('weir_memory_budget_bytes')}`, legend: '{{instance}}' },
      ],
    },
    {
      kind: 'lines',
      title: 'Buffered per connection',
      description:
        'Mean over all connections: high with few 3008 closes means that everybody is slow, so look at the network.',
      unit: 'bytes',
      queries: [
        {
          expr: ratio(sum(q.value('weir_outbox_bytes'), 'instance'), sum(q.value('weir_connections'), 'instance')),
          legend: '{{instance}}',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'Closed as too slow (3008)',
      description: 'Connections cut because their outbox was full.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_connections_closed_total', { code: '3008' }), 'instance'), legend: '{{instance}}' },
      ],
    },
    {
      kind: 'stacked',
      title: 'Gap receipts',
      description:
        '`lost` and `epoch` come from the broker, `expired` from history that was too short for a reconnect, `conflated` is a policy at work.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_gaps_total'), 'reason'), legend: '{{reason}}' }],
    },
    {
      kind: 'lines',
      title: 'Out of the sockets of each node',
      description: 'Payload bytes per node; flat while deliveries are asked for means that the link is full.',
      unit: 'Bps',
      queries: [{ expr: sum(q.rate('weir_bytes_sent_total'), 'instance'), legend: '{{instance}}' }],
    },
  ],
};
