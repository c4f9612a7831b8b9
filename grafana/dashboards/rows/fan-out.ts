// Row "Fan-out cost": cost is per flush to a socket, so how many messages share one frame decides what a node carries.
import type { RowDefinition } from '../../panels.ts';
import { ratio, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const fanOut: RowDefinition = {
  title: 'Fan-out cost',
  panels: [
    {
      kind: 'lines',
      title: 'Messages per frame',
      description:
        'Deliveries divided by frames. Rises under load when coalescing works; 1 under load means that every message is sent alone.',
      unit: 'none',
      queries: [
        {
          expr: ratio(
            sum(q.rate('weir_deliveries_total'), 'instance'),
            sum(q.rate('weir_frames_sent_total'), 'instance'),
          ),
          legend: '{{instance}}',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'Bytes per frame',
      description: 'Mean size of a batch frame.',
      unit: 'bytes',
      queries: [
        {
          expr: ratio(
            sum(q.rate('weir_bytes_sent_total'), 'instance'),
            sum(q.rate('weir_frames_sent_total'), 'instance'),
          ),
          legend: '{{instance}}',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'Coalescing delay',
      description:
        'How long the dispatcher waits for further messages. 0 while the loop is idle; at its maximum the node is at its limit.',
      unit: 's',
      queries: [{ expr: q.value('weir_coalesce_delay_seconds'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Backlog of fan-out',
      description:
        'For how long some channel has had more than one flush could take. 0 while fan-out keeps up, a moment for a burst; where it stays above 50 ms the overload ladder climbs for it.',
      unit: 's',
      queries: [{ expr: q.value('weir_fanout_backlog_seconds'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Flushes',
      description: 'Flushes of the dispatcher per second.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_flushes_total'), 'instance'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Audience of a publication',
      description:
        'Deliveries per publication received from the backplane: mean number of sockets of this node that wanted it.',
      unit: 'none',
      queries: [
        {
          expr: ratio(
            sum(q.rate('weir_deliveries_total'), 'instance'),
            sum(q.rate('weir_publications_received_total'), 'instance'),
          ),
          legend: '{{instance}}',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'Deliveries per CPU second',
      description:
        'Efficiency. A fall at equal traffic is a regression or small frames; compare with "Messages per frame".',
      unit: 'short',
      queries: [
        {
          expr: ratio(
            sum(q.rate('weir_deliveries_total'), 'instance'),
            sum(q.rate('process_cpu_seconds_total'), 'instance'),
          ),
          legend: '{{instance}}',
        },
      ],
    },
  ],
};
