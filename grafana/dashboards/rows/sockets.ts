// Row "Sockets": how many, how fast they come and go, and why they went.
import type { RowDefinition } from '../../panels.ts';
import { ratio, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const sockets: RowDefinition = {
  title: 'Sockets',
  panels: [
    {
      kind: 'stacked',
      title: 'Connections',
      description:
        'Open connections by node. A node that joined fills up slowly; a step down with a step up elsewhere is clients moving.',
      unit: 'short',
      queries: [{ expr: q.value('weir_connections'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Opened and closed',
      description: 'Both high at equal height is churn: clients that cannot stay. See the close codes.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_connections_opened_total')), legend: 'opened' },
        { expr: sum(q.rate('weir_connections_closed_total')), legend: 'closed' },
      ],
    },
    {
      kind: 'stacked',
      title: 'Closed by code',
      description:
        '1000, 1001, 1005 the client left; 1006 the network; 1012 and 3001 restart or drain; 3008 replies nobody read; 3012 no pong; 35xx refused for good.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_connections_closed_total'), 'code'), legend: '{{code}}' }],
    },
    {
      kind: 'lines',
      title: 'Churn',
      description: 'Share of all connections closed per second.',
      unit: 'percentunit',
      warnAbove: 0.01,
      queries: [
        {
          expr: ratio(
            sum(q.rate('weir_connections_closed_total'), 'instance'),
            sum(q.value('weir_connections'), 'instance'),
          ),
          legend: '{{instance}}',
        },
      ],
    },
    {
      kind: 'stacked',
      title: 'Upgrades refused',
      description: 'Refused before a socket existed, by reason: origin, limits or shedding.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_connections_refused_total'), 'reason'), legend: '{{reason}}' }],
    },
    {
      kind: 'lines',
      title: 'Heartbeats',
      description:
        'Pings to silent clients, and such as were due and not needed because the client spoke. Busy or stable links need few.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_pings_sent_total')), legend: 'sent' },
        { expr: sum(q.rate('weir_pings_skipped_total')), legend: 'not needed' },
      ],
    },
    {
      kind: 'lines',
      title: 'Pings per message',
      description:
        'What keeping links alive costs beside what they carry: 1 means a ping for every message. High with idle clients; a longer ping interval lowers it.',
      unit: 'short',
      queries: [{ expr: q.value('weir_ping_message_ratio'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Subscriptions and channels',
      description: 'Channels are counted once per node that serves them.',
      unit: 'short',
      queries: [
        { expr: sum(q.value('weir_subscriptions')), legend: 'subscriptions' },
        { expr: sum(q.value('weir_channels')), legend: 'channels' },
      ],
    },
    {
      kind: 'lines',
      title: 'Sessions',
      description:
        'Connects that named a session, by outcome, and connections closed because a newer one has theirs. Unavailable: the broker did not answer in time.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_sessions_claimed_total'), 'outcome'), legend: '{{outcome}}' },
        { expr: sum(q.rate('weir_sessions_taken_over_total')), legend: 'taken over' },
      ],
    },
    {
      kind: 'lines',
      title: 'Asked to move',
      description:
        'Connections asked to open a new one elsewhere, by reason, and those ended because they did not in time: clients that do not know the reconnect push. Rebalancing and age stay below the limit of all nodes together.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_moves_asked_total'), 'reason'), legend: 'asked: {{reason}}' },
        { expr: sum(q.rate('weir_moves_overdue_total'), 'reason'), legend: 'ended: {{reason}}' },
        { expr: sum(q.rate('weir_sessions_handed_over_total')), legend: 'sessions handed over' },
        { expr: sum(q.value('weir_moves_per_second_limit')), legend: 'limit for age and balance, each' },
      ],
    },
    {
      kind: 'lines',
      title: 'On the move',
      description:
        'Connections that were asked to move and are still there, by node, beside what the cluster says it admits in a second. A number that stays is clients that ignore the push.',
      unit: 'short',
      queries: [
        { expr: q.value('weir_connections_moving'), legend: '{{instance}}' },
        { expr: sum(q.value('weir_admission_per_second')), legend: 'admitted per second' },
      ],
    },
    {
      kind: 'lines',
      title: 'Sessions saved and restored',
      description: 'Saves grow with the connections whose cursors move, up to 2 000 a second per node.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_sessions_saved_total')), legend: 'sessions saved' },
        { expr: sum(q.rate('weir_subscriptions_restored_total')), legend: 'subscriptions restored' },
      ],
    },
  ],
};
