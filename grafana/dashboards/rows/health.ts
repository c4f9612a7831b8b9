// Row "Health": is the cluster whole, and which node is not.
import type { RowDefinition } from '../../panels.ts';
import { max, min, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const health: RowDefinition = {
  title: 'Health',
  panels: [
    {
      kind: 'stat',
      title: 'Nodes ready',
      description:
        'Nodes that answer ready. Fewer than the nodes you run: see "Ready by node", then Broker and Process.',
      unit: 'none',
      width: 4,
      good: 'high',
      limit: 2,
      queries: [{ expr: sum(q.value('weir_node_ready')), legend: 'ready' }],
    },
    {
      kind: 'stat',
      title: 'Nodes scraped',
      description:
        'Nodes Prometheus reaches. Fewer than "Nodes ready" is a problem of the scrape, more is nodes that are up but not ready.',
      unit: 'none',
      width: 4,
      good: 'high',
      limit: 2,
      queries: [{ expr: sum(q.up('weir')), legend: 'up' }],
    },
    {
      kind: 'stat',
      title: 'Nodes draining',
      description: 'Nodes that were told to stop and let their clients go. Expected during a rolling restart only.',
      unit: 'none',
      width: 4,
      good: 'neutral',
      queries: [{ expr: sum(q.value('weir_node_draining')), legend: 'draining' }],
    },
    {
      kind: 'stat',
      title: 'Broker',
      description:
        '1 while every node reaches the broker. 0: at least one is degraded, publishes to it fail; see the row Broker.',
      unit: 'none',
      width: 4,
      good: 'high',
      limit: 1,
      queries: [{ expr: min(q.value('weir_broker_ready')), legend: 'broker' }],
    },
    {
      kind: 'stat',
      title: 'Connections',
      description: 'Open connections of the selected nodes.',
      unit: 'short',
      width: 4,
      good: 'neutral',
      queries: [{ expr: sum(q.value('weir_connections')), legend: 'connections' }],
    },
    {
      kind: 'stat',
      title: 'Messages lost (5 m)',
      description:
        'Gap receipts for publications that could not be recovered. Anything above 0 means clients were told that messages are gone.',
      unit: 'short',
      width: 4,
      good: 'low',
      limit: 1,
      queries: [
        { expr: `${sum(q.increase('weir_gaps_total', { reason: 'lost' }, '5m'))} or vector(0)`, legend: 'lost' },
      ],
    },
    {
      kind: 'lines',
      title: 'Ready by node',
      description:
        '1 ready, 0 not. A node that is 0 without draining takes no new clients: its broker link or its event loop is the usual reason.',
      unit: 'none',
      max: 1,
      queries: [{ expr: q.value('weir_node_ready'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Since the start of the process',
      description: 'Age of each process. A drop to 0 is a restart: crash, out of memory or deploy.',
      unit: 's',
      queries: [{ expr: `time() - ${q.value('process_start_time_seconds')}`, legend: '{{instance}}' }],
    },
    {
      kind: 'table',
      title: 'Nodes',
      description:
        'Which name and version stands behind an instance. More than one version outside a deploy is worth a question.',
      unit: 'none',
      hide: ['Time', 'Value', '__name__', 'job'],
      queries: [{ expr: max(q.value('weir_node_info'), 'instance', 'node', 'version', 'profile'), legend: '' }],
    },
  ],
};
