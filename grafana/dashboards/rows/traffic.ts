// Row "Traffic": what comes in and what goes out.
import type { RowDefinition } from '../../panels.ts';
import { ratio, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const traffic: RowDefinition = {
  title: 'Traffic in and out',
  panels: [
    {
      kind: 'stacked',
      title: 'Publications acknowledged',
      description:
        'Publications that got their offset, by source. A drop with steady HTTP requests means that publishes fail: see Broker.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_publications_total'), 'source'), legend: '{{source}}' }],
    },
    {
      kind: 'stacked',
      title: 'Messages delivered',
      description:
        'Messages handed to sockets, by node. An uneven share with even connections: one node holds the large channels.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_deliveries_total'), 'instance'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'WebSocket bytes',
      description:
        'Payload in both directions. Out rises with audience and size; in alone rising is a client that floods.',
      unit: 'Bps',
      queries: [
        { expr: sum(q.rate('weir_bytes_sent_total')), legend: 'out' },
        { expr: sum(q.rate('weir_bytes_received_total')), legend: 'in' },
      ],
    },
    {
      kind: 'stacked',
      title: 'Client commands',
      description: 'Commands by type. Many `connect` and `subscribe` at once is a herd coming back.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_commands_total'), 'type'), legend: '{{type}}' }],
    },
    {
      kind: 'stacked',
      title: 'Errors to clients',
      description:
        'Error replies by name. `permission_denied` and `bad_request` come from clients, `broker_unavailable` and `overloaded` from us.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_command_errors_total'), 'name'), legend: '{{name}}' }],
    },
    {
      kind: 'lines',
      title: 'Frames received',
      description: 'WebSocket frames from clients, by node.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_frames_received_total'), 'instance'), legend: '{{instance}}' }],
    },
    {
      kind: 'stacked',
      title: 'HTTP requests',
      description: 'Requests to the server API by route and status.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_http_requests_total'), 'route', 'status'), legend: '{{route}} {{status}}' }],
    },
    {
      kind: 'lines',
      title: 'API keys refused',
      description:
        'Unknown keys: a rotation that forgot somebody, or guessing. Limited: an address presented too many; the log names it.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_api_keys_refused_total'), 'reason'), legend: '{{reason}}' }],
    },
    {
      kind: 'lines',
      title: 'HTTP server errors',
      description: 'Share of requests answered 5xx. 503 says that the broker is away or the node is shedding.',
      unit: 'percentunit',
      warnAbove: 0.01,
      queries: [
        {
          expr: ratio(
            sum(q.rate('weir_http_requests_total', { status: '=~5..' })),
            sum(q.rate('weir_http_requests_total')),
          ),
          legend: '5xx',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'Publishes repeated by clients',
      description:
        'Publishes answered from a known messageId: publishers are retrying. Look at publish latency and HTTP errors.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_publications_duplicate_total'), 'instance'), legend: '{{instance}}' }],
    },
  ],
};
