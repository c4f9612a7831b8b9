// Row "Backpressure": who cannot keep up, what it costs in memory, and what was skipped for it.
import type { RowDefinition } from '../../panels.ts';
import { ratio, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const backpressure: RowDefinition = {
  title: 'Backpressure',
  panels: [
    {
      kind: 'lines',
      title: 'Parked connections',
      description:
        'Sockets with more than 32 KiB outstanding: they get nothing more until they drain, and keep their connection. A few are clients on a bad network; many at once are the network of the node.',
      unit: 'short',
      queries: [{ expr: q.value('weir_connections_parked'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Subscriptions behind',
      description:
        'Cursors that catch up: after a reconnect, or because their socket is parked. Subscriptions with policy `ack` always count. A peak that falls is a herd coming back; a plateau above the parked ones is clients that never catch up.',
      unit: 'short',
      queries: [{ expr: q.value('weir_subscriptions_behind'), legend: '{{instance}}' }],
    },
    {
      kind: 'stacked',
      title: 'Catch-up pages',
      description:
        'Pages sent to subscriptions behind. `ring` costs the node only, `history` asks the broker: mostly `history` means that clients are away longer than rings last.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_catch_up_pages_total'), 'source'), legend: '{{source}}' }],
    },
    {
      kind: 'lines',
      title: 'Time spent catching up',
      description:
        'Share of the event loop that goes into backlogs. It takes what time there is and gives way to live messages: high while a herd comes back is as it should be.',
      unit: 'percentunit',
      queries: [{ expr: q.rate('weir_catch_up_seconds_total'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Channel logs',
      description:
        'Bytes that rings keep for those who catch up: at most half of the memory budget, and less when clients owe much. Near 0 under load, catch-up goes to the history of the broker.',
      unit: 'bytes',
      queries: [{ expr: q.value('weir_ring_bytes'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Buffered for sockets',
      description:
        'Bytes beyond the kernel buffers. Messages stop at about 32 KiB per socket, replies at maxOutboxBytes; a steady climb is a node that sends more than its network takes.',
      unit: 'bytes',
      queries: [{ expr: q.value('weir_outbox_bytes'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Share of the memory budget',
      description:
        'What counts against the budget, by part. `outboxes` count with the most each ever held, because the engine gives that back only when the socket closes; `rings` give way to everything else; `inbound` is reserved for what arrives in pieces, and connections beyond the reserve show as `could arrive in pieces` above it. From 0.8 without rings on the largest debtors are parked, at 1 they go: row Overload.',
      unit: 'percentunit',
      max: 1,
      warnAbove: 0.8,
      queries: [
        {
          expr: `${q.value('weir_budget_bytes')} / on (instance) group_left () ${q.value('weir_memory_budget_bytes')}`,
          legend: '{{instance}} {{part}}',
        },
        {
          expr: `${q.value('weir_inbound_worst_bytes')} / on (instance) ${q.value('weir_memory_budget_bytes')}`,
          legend: '{{instance}} could arrive in pieces',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'Buffered per connection',
      description:
        'Mean over all connections: high with few parked ones means that everybody is a little slow, so look at the network.',
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
      title: 'Closed with 3008',
      description:
        'Connections that went on asking without reading the replies, up to maxOutboxBytes, those that owed most when the memory budget was used up (row Overload), and those kicked because their namespace limits how far behind they may be. Without such a limit a client that is slow on messages alone is parked, never cut.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_connections_closed_total', { code: '3008' }), 'instance'), legend: '{{instance}}' },
        {
          expr: sum(q.rate('weir_connections_kicked_total'), 'instance', 'reason'),
          legend: '{{instance}} kicked: {{reason}}',
        },
      ],
    },
    {
      kind: 'stacked',
      title: 'Gap receipts',
      description:
        '`lost` and `epoch` come from the broker, `expired` from history that was too short for who was away or parked, `conflated` is a policy at work. `lost` counts once per channel, the others once per subscription.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_gaps_total'), 'reason'), legend: '{{reason}}' }],
    },
    {
      kind: 'lines',
      title: 'Ephemeral messages dropped',
      description:
        'Messages times connections that did not get them; each connection is told its number by a gap. `behind`: its socket took no more. `overrun`: more came than the node hands over.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_messages_dropped_total'), 'reason'), legend: '{{reason}}' }],
    },
    {
      kind: 'lines',
      title: 'Ephemeral subscriptions behind',
      description:
        'They receive nothing until their socket has drained, and are told then how many messages they missed.',
      unit: 'short',
      queries: [{ expr: q.value('weir_ephemeral_behind'), legend: '{{instance}}' }],
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
