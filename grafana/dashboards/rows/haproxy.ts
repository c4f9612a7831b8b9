// Row "HAProxy": what the balancer sees of the nodes and what clients see of the balancer.
import { CLIENT_BACKEND } from '../../../loadbalancer/haproxy-options.ts';
import type { RowDefinition } from '../../panels.ts';
import { sum } from '../../promql.ts';
import { q } from '../scope.ts';

const clients = { proxy: CLIENT_BACKEND };

/** Slots without a node are in maintenance; they would be sixteen flat lines. */
const ofUsedSlots = (expression: string): string =>
  `${expression} unless on (proxy, server) (${q.value('haproxy_server_status', { ...clients, state: 'MAINT' })} == 1)`;

export const haproxy: RowDefinition = {
  title: 'HAProxy',
  panels: [
    {
      kind: 'lines',
      title: 'Servers taking clients',
      description: 'Fewer than "Nodes ready": the balancer does not reach a node that thinks it is well.',
      unit: 'none',
      queries: [{ expr: q.value('haproxy_backend_active_servers'), legend: '{{proxy}}' }],
    },
    {
      kind: 'stacked',
      title: 'Sessions by server',
      description:
        'Sockets the balancer holds towards each node. Uneven for long: nodes that joined late, or a pinned profile.',
      unit: 'short',
      queries: [{ expr: ofUsedSlots(q.value('haproxy_server_current_sessions', clients)), legend: '{{server}}' }],
    },
    {
      kind: 'lines',
      title: 'Servers not up',
      description: 'Slots in a state other than up; empty slots count as MAINT and are left out.',
      unit: 'none',
      queries: [
        {
          expr: `${q.value('haproxy_server_status', { ...clients, state: '=~DOWN|DRAIN|NOLB' })} == 1`,
          legend: '{{server}} {{state}}',
        },
      ],
    },
    {
      kind: 'lines',
      title: 'New connections',
      description: 'Accepted from clients. A wall is a herd coming back after an interruption.',
      unit: 'ops',
      queries: [{ expr: q.rate('haproxy_frontend_connections_total', { proxy: 'public' }), legend: 'accepted' }],
    },
    {
      kind: 'stacked',
      title: 'Answers to clients',
      description:
        '1xx are upgrades that worked. 4xx from limits and unknown paths, 5xx when no node took the request.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('haproxy_frontend_http_responses_total', { proxy: 'public' }), 'code'), legend: '{{code}}' },
      ],
    },
    {
      kind: 'lines',
      title: 'Errors towards nodes',
      description: 'Connections that failed, answers that were cut, requests sent to another node instead.',
      unit: 'ops',
      queries: [
        { expr: q.rate('haproxy_backend_connection_errors_total'), legend: '{{proxy}} connect' },
        { expr: q.rate('haproxy_backend_response_errors_total'), legend: '{{proxy}} response' },
        { expr: q.rate('haproxy_backend_redispatch_warnings_total'), legend: '{{proxy}} redispatch' },
      ],
    },
    {
      kind: 'lines',
      title: 'Health checks',
      description: 'Failures of the readiness check by server, as the balancer counts them.',
      unit: 'ops',
      queries: [{ expr: ofUsedSlots(q.rate('haproxy_server_check_failures_total', clients)), legend: '{{server}}' }],
    },
    {
      kind: 'lines',
      title: 'Waiting for a node',
      description: 'Requests queued because every node is at its connection limit.',
      unit: 'none',
      queries: [{ expr: q.value('haproxy_backend_current_queue'), legend: '{{proxy}}' }],
    },
    {
      kind: 'lines',
      title: 'Room in the balancer',
      description:
        'Connections against its limit, and the share of time it is busy. Either near 1: a second balancer is due.',
      unit: 'percentunit',
      max: 1,
      warnAbove: 0.8,
      queries: [
        {
          expr: `${q.value('haproxy_process_current_connections')} / ${q.value('haproxy_process_max_connections')}`,
          legend: 'connections',
        },
        { expr: `1 - ${q.value('haproxy_process_idle_time_percent')} / 100`, legend: 'busy' },
      ],
    },
    {
      kind: 'stacked',
      title: 'Members',
      description: 'Nodes the balancer agent believes in, by the state they announced. Compare with "Nodes ready".',
      unit: 'none',
      queries: [{ expr: q.value('weir_balancer_members'), legend: '{{state}}' }],
    },
    {
      kind: 'lines',
      title: 'What the agent reaches',
      description:
        '0: it cannot read the registry (HAProxy keeps the known nodes), or HAProxy does not take its changes (nodes that join get no clients).',
      unit: 'none',
      queries: [
        { expr: q.value('weir_balancer_registry_up'), legend: '{{instance}} registry' },
        { expr: q.value('weir_balancer_haproxy_up'), legend: '{{instance}} HAProxy' },
        { expr: q.rate('weir_balancer_errors_total'), legend: '{{instance}} {{stage}} errors/s' },
      ],
    },
    {
      kind: 'lines',
      title: 'Slots',
      description: 'Room for further nodes, nodes that found none, and nodes of the registry the agent cannot use.',
      unit: 'none',
      queries: [
        { expr: q.value('weir_balancer_slots_free'), legend: 'free' },
        { expr: q.value('weir_balancer_members_unplaced'), legend: 'nodes without a slot' },
        { expr: q.value('weir_balancer_records_ignored'), legend: 'nodes ignored' },
      ],
    },
    {
      kind: 'lines',
      title: 'Changes of slots',
      description: 'What agents changed in HAProxy. A steady rate without nodes coming or going: two agents disagree.',
      unit: 'ops',
      queries: [{ expr: q.rate('weir_balancer_changes_total'), legend: '{{kind}}' }],
    },
  ],
};
