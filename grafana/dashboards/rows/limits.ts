// Row "Limits and admission": who is let in how fast, who is told to come later, and whom a limit stops.
import type { RowDefinition } from '../../panels.ts';
import { sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const limits: RowDefinition = {
  title: 'Limits and admission',
  panels: [
    {
      kind: 'stacked',
      title: 'Clients let in and sent away',
      description:
        'A storm is a flat line at admissionPerSecond of each node. Refused ones come back at the moment they were told; `resume` refused for long means that the nodes are too few for those who reconnect.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_admissions_total'), 'class', 'outcome'), legend: '{{class}} {{outcome}}' }],
    },
    {
      kind: 'lines',
      title: 'Not let in yet',
      description:
        'Clients in the queue of the admission, and all open connections before it. Many outside and few waiting: sockets that never say `connect`.',
      unit: 'short',
      queries: [
        { expr: q.value('weir_admission_waiting'), legend: '{{instance}} waiting' },
        { expr: q.value('weir_connections_outside'), legend: '{{instance}} outside' },
      ],
    },
    {
      kind: 'lines',
      title: 'Wait to be let in',
      description: 'From `connect` until the client is let in, at most admissionDeadlineMs.',
      unit: 's',
      queries: [
        { expr: q.quantile(0.5, 'weir_admission_wait_seconds'), legend: 'p50' },
        { expr: q.quantile(0.99, 'weir_admission_wait_seconds'), legend: 'p99' },
      ],
    },
    {
      kind: 'stacked',
      title: 'Stopped by a limit',
      description:
        'Commands, requests and connections refused, by limit. A steady band of one reason is a client that does not heed delays, or a limit that is too low.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_limited_total'), 'reason'), legend: '{{reason}}' }],
    },
    {
      kind: 'stacked',
      title: 'Limits held on a node alone',
      description:
        'Limits over all nodes that were held by this node alone because the broker did not answer: until it does, each node grants the whole limit.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_limits_alone_total'), 'limit'), legend: '{{limit}}' }],
    },
  ],
};
