// Alert rules as typed code; `alerts.yml` is generated from them. Each names what is wrong, for whom, and where to look.
import { stringify } from 'yaml';
import { CLIENT_BACKEND } from '../loadbalancer/haproxy-options.ts';
import { clusterDashboardUid } from './dashboards/cluster.ts';
import { count, createPromql, max, ratio, sum } from './promql.ts';

/** `critical` wakes somebody: clients are affected now. `warning` is for working hours. */
export type Severity = 'critical' | 'warning';

export interface AlertRule {
  readonly name: string;
  readonly expr: string;
  /** How long the expression must hold. */
  readonly for: string;
  readonly severity: Severity;
  readonly summary: string;
  readonly description: string;
}

const q = createPromql({
  window: '5m',
  matchers: { weir: { job: 'weir' }, haproxy: { job: 'haproxy' }, balancer: { job: 'balancer' } },
});

const readyNodes = sum(q.value('weir_node_ready'));
const knownNodes = count(q.value('weir_node_ready'));
const failedPublishes = sum(q.rate('weir_publish_errors_total'));

export const alertRules: readonly AlertRule[] = [
  {
    name: 'WeirNoNodeReady',
    // A sum over no series is no series, which would keep this silent in the worst case.
    expr: `(${readyNodes} or vector(0)) < 1`,
    for: '15s',
    severity: 'critical',
    summary: 'No node takes clients',
    description:
      'Every node is down, draining or not ready. Rows Health and Broker: if the broker is at 0 everywhere, start with Redis.',
  },
  {
    name: 'WeirNodeNotReady',
    expr: `${q.value('weir_node_ready')} == 0 and ${q.value('weir_node_draining')} == 0`,
    for: '30s',
    severity: 'critical',
    summary: '{{ $labels.instance }} is up and not ready',
    description: 'It takes no new clients, and those it has may hear nothing. Its /health/ready names the reason.',
  },
  {
    name: 'WeirNodeUnreachable',
    expr: `${q.up('weir')} == 0`,
    for: '30s',
    severity: 'critical',
    summary: '{{ $labels.instance }} cannot be scraped',
    description:
      'The process is gone or its event loop is stuck. Compare with "Servers taking clients" in the row HAProxy.',
  },
  {
    name: 'WeirNodesMissing',
    // Nodes that vanish from service discovery leave no `up` behind, so today's count is compared with the last hour's.
    expr: `${knownNodes} < max_over_time(${knownNodes}[1h:1m])`,
    for: '5m',
    severity: 'warning',
    summary: 'There are fewer nodes than within the last hour',
    description:
      'Expected after scaling in; otherwise a node did not come back. The table in the row Health lists those that are left.',
  },
  {
    name: 'WeirNoSpareNode',
    expr: `${readyNodes} == 1`,
    for: '5m',
    severity: 'warning',
    summary: 'A single node carries all clients',
    description: 'The next failure is an outage. Start another node.',
  },
  {
    name: 'WeirBrokerDegraded',
    expr: `${q.value('weir_broker_ready')} == 0`,
    for: '15s',
    severity: 'critical',
    summary: '{{ $labels.instance }} does not reach the broker',
    description:
      'Publishes through it fail with 503 and its subscribers are told `degraded`. On all nodes at once: Redis; on one: its link.',
  },
  {
    name: 'WeirNodeDeaf',
    expr: `${q.value('weir_node_deaf')} == 1`,
    for: '15s',
    severity: 'critical',
    summary: '{{ $labels.instance }} publishes and hears nothing',
    description:
      'Publications are acknowledged and do not arrive, and a new link did not help. Its clients move while another node is ready; restart it, and look at what stands between it and Redis.',
  },
  {
    name: 'WeirBrokerUnstable',
    expr: `${sum(q.increase('weir_broker_interruptions_total', {}, '15m'), 'instance')} > 3`,
    for: '0s',
    severity: 'warning',
    summary: '{{ $labels.instance }} keeps losing its broker link',
    description:
      'Each interruption costs a heal of every channel. Usual causes: the pub/sub output buffer limit of Redis, or the network.',
  },
  {
    name: 'WeirBrokerErrors',
    expr: `${sum(q.rate('weir_broker_errors_total'), 'instance', 'stage')} > 0.1`,
    for: '5m',
    severity: 'warning',
    summary: '{{ $labels.instance }}: broker errors at {{ $labels.stage }}',
    description:
      'Background errors of the broker driver that keep coming; the log of the node has them with the same stage.',
  },
  {
    name: 'WeirPublishErrors',
    expr: `${ratio(failedPublishes, `(${sum(q.rate('weir_publications_total'))} + ${failedPublishes})`)} > 0.01`,
    for: '2m',
    severity: 'critical',
    summary: 'More than 1 % of publishes fail',
    description:
      '"Publishes that failed" in the row Broker has the names; publishers retry temporary ones with the same messageId.',
  },
  {
    name: 'WeirMessagesLost',
    expr: `${sum(q.growth('weir_gaps_total', { reason: 'lost' }))} > 0`,
    for: '0s',
    severity: 'critical',
    summary: 'Publications were lost and clients were told so',
    description:
      'The broker no longer has what it had acknowledged: a failover that missed the tail, or lost data. See the row Broker.',
  },
  {
    name: 'WeirPublishSlow',
    expr: `${q.quantile(0.99, 'weir_publish_duration_seconds')} > 0.25`,
    for: '5m',
    severity: 'warning',
    summary: 'Publishing takes more than 250 ms (p99)',
    description: 'Redis or the network to it. If one node alone is slow, look at its event loop.',
  },
  {
    name: 'WeirDeliverySlow',
    expr: `${q.quantile(0.99, 'weir_delivery_latency_seconds', ['instance'])} > 0.5`,
    for: '5m',
    severity: 'warning',
    summary: '{{ $labels.instance }} delivers later than 500 ms (p99)',
    description: 'Row Latency tells the broker from the node; row Process whether the node is full.',
  },
  {
    name: 'WeirEventLoopLag',
    expr: `${q.value('weir_event_loop_lag_seconds', { quantile: 'p99' })} > 0.1`,
    for: '2m',
    severity: 'warning',
    summary: 'The event loop of {{ $labels.instance }} lags by more than 100 ms (p99)',
    description:
      'Every client of the node waits that long. Row Fan-out cost: one very large channel, or too much for one node.',
  },
  {
    name: 'WeirNodeFull',
    expr: `avg_over_time(${q.value('weir_event_loop_utilization')}[5m]) > 0.9`,
    for: '5m',
    severity: 'warning',
    summary: 'The event loop of {{ $labels.instance }} is busy more than 90 % of the time',
    description: 'It has no reserve for a burst or for the clients of a node that fails. Add nodes.',
  },
  {
    name: 'WeirConnectionsParked',
    // A share, because some phones on a bad network are always parked; a count, because two of ten clients are no incident.
    expr: `${q.value('weir_connections_parked')} / ${q.value('weir_connections')} > 0.05 and ${q.value('weir_connections_parked')} > 20`,
    for: '5m',
    severity: 'warning',
    summary: 'More than 5 % of the connections of {{ $labels.instance }} do not take their messages',
    description:
      'They lose nothing while ring and history last, and are late. Row Backpressure: many at once is usually the network of the node, or a channel too fast for its clients; consider policy `latest` or `conflate` there.',
  },
  {
    name: 'WeirSlowConsumers',
    expr: `${sum(q.growth('weir_connections_closed_total', { code: '3008' }), 'instance')} > 20`,
    for: '0s',
    severity: 'warning',
    summary: '{{ $labels.instance }} cut clients that did not read their replies',
    description:
      'They sent commands and did not read the answers, up to maxOutboxBytes. "Client commands" in the row Traffic in and out tells which; usually a client with a bug or worse.',
  },
  {
    name: 'WeirMemoryBudget',
    expr: `${sum(q.value('weir_budget_bytes', { part: '!=rings' }), 'instance')} / ${sum(q.value('weir_memory_budget_bytes'), 'instance')} > 0.8`,
    for: '1m',
    severity: 'warning',
    summary: 'Clients of {{ $labels.instance }} owe 80 % of its memory budget',
    description:
      'Channel logs have shrunk already; the largest debtors are parked, and go at 100 %. Row Backpressure has the parts: `outboxes` are clients that read too slowly, `requests` a broker that does not answer or clients that do not finish their bodies.',
  },
  {
    name: 'WeirMemoryBudgetUsedUp',
    expr: `${sum(q.growth('weir_budget_relief_total', { measure: '=~closed|cut|refused' }), 'instance')} > 0`,
    for: '0s',
    severity: 'critical',
    summary: '{{ $labels.instance }} closes connections or refuses requests to stay within its memory budget',
    description:
      'Those that owed most go first, and resume from their cursors. Row Overload, "Measures for the memory budget"; if it lasts, raise WEIR_MEMORY_BUDGET_BYTES with the memory of the node, or give slow channels policy `latest` or `conflate`.',
  },
  {
    name: 'WeirOverloaded',
    expr: `${q.value('weir_overload_level')} >= 3`,
    for: '1m',
    severity: 'warning',
    summary: '{{ $labels.instance }} is overloaded and refuses some newcomers',
    description:
      'Row Overload: the signal nearest to 1 is the reason. `lag`, `cpu`: add nodes; `memory`, `buffered`: clients that do not read; `broker`: Redis.',
  },
  {
    name: 'WeirShedding',
    expr: `${q.value('weir_overload_level')} >= 7`,
    for: '15s',
    severity: 'critical',
    summary: '{{ $labels.instance }} refuses publishes',
    description:
      'The last two rungs of the overload ladder: publishers get 115 or 429 with a delay. Row Overload names the signal; what is accepted is still delivered.',
  },
  {
    name: 'WeirOverloadFlapping',
    expr: `${max(q.increase('weir_overload_engaged_total', {}, '15m'), 'instance')} > 20`,
    for: '0s',
    severity: 'warning',
    summary: 'A rung of the overload ladder of {{ $labels.instance }} comes and goes',
    description:
      'Its usual load lies at a threshold. Add a node, or raise the threshold (WEIR_OVERLOAD_…) if "Signals against their thresholds" shows that it is too low.',
  },
  {
    name: 'WeirEventsWaiting',
    expr: `${max(q.value('weir_hook_events_backlog_age_seconds'))} > 60`,
    for: '1m',
    severity: 'warning',
    summary: 'The application has not taken lifecycle events for over a minute',
    description:
      'They are kept, up to WEIR_HOOK_EVENTS_MAX_BACKLOG. Row Hooks, calls of the hook `events`: it answers something else than 2xx, too late, or cannot be reached.',
  },
  {
    name: 'WeirEventsLost',
    expr: `${sum(q.growth('weir_hook_events_lost_total'))} > 0`,
    for: '0s',
    severity: 'warning',
    summary: 'Lifecycle events were lost, and the application was told so',
    description:
      'The backlog was full, or Redis lost what it had. What the application believes about connections and channels may be wrong until it compares (docs/hooks.md).',
  },
  {
    name: 'WeirConnectionsRefused',
    expr: `${sum(q.rate('weir_connections_refused_total'), 'instance', 'reason')} > 1`,
    for: '5m',
    severity: 'warning',
    summary: '{{ $labels.instance }} refuses connections: {{ $labels.reason }}',
    description: 'An origin that is not allowed, a limit that is reached, or shedding.',
  },
  {
    name: 'WeirCredentialsRefused',
    expr: `${sum(q.growth('weir_credential_reloads_total', { outcome: 'refused' }), 'instance')} > 0`,
    for: '0s',
    severity: 'warning',
    summary: '{{ $labels.instance }} cannot use the changed API keys or public keys',
    description:
      'It goes on with those it had, so nobody is refused yet; a restart would fail. Its log (credentials_refused) says what is wrong.',
  },
  {
    name: 'WeirConnectionChurn',
    expr: `${ratio(sum(q.rate('weir_connections_closed_total')), sum(q.value('weir_connections')))} > 0.01 and ${sum(q.value('weir_connections'))} > 100`,
    for: '5m',
    severity: 'warning',
    summary: 'More than 1 % of all connections close every second',
    description: 'Clients come and go without rest. "Closed by code" in the row Sockets says why.',
  },
  {
    name: 'WeirServerErrors',
    expr: `${ratio(sum(q.rate('weir_http_requests_total', { status: '=~5..' })), sum(q.rate('weir_http_requests_total')))} > 0.05`,
    for: '5m',
    severity: 'warning',
    summary: 'More than 5 % of API requests are answered 5xx',
    description: '"HTTP requests" in the row Traffic has the routes.',
  },
  {
    name: 'WeirFileDescriptors',
    expr: `${q.value('process_open_fds')} / ${q.value('process_max_fds')} > 0.8`,
    for: '5m',
    severity: 'warning',
    summary: '{{ $labels.instance }} has used 80 % of its file descriptors',
    description:
      'At the limit no connection is accepted. Raise LimitNOFILE or WEIR_MAX_CONNECTIONS is too high for it.',
  },
  {
    name: 'WeirBalancerDown',
    expr: `${q.up('haproxy')} == 0`,
    for: '30s',
    severity: 'critical',
    summary: 'HAProxy cannot be scraped',
    description: 'If it is down, no client reaches any node.',
  },
  {
    name: 'WeirBalancerSeesFewerNodes',
    expr: `${max(q.value('haproxy_backend_active_servers', { proxy: CLIENT_BACKEND }))} < ${readyNodes}`,
    for: '1m',
    severity: 'warning',
    summary: 'HAProxy sends clients to fewer nodes than are ready',
    description:
      'A node thinks it is well and the balancer does not reach it. Row HAProxy, "Servers not up" and "Health checks".',
  },
  {
    name: 'WeirBalancerFull',
    expr: `${q.value('haproxy_process_current_connections')} / ${q.value('haproxy_process_max_connections')} > 0.8`,
    for: '2m',
    severity: 'critical',
    summary: 'HAProxy has used 80 % of its connections',
    description: 'Beyond the limit clients wait in the backlog and time out.',
  },
  {
    name: 'WeirBalancerAgentDown',
    expr: `${q.up('balancer')} == 0`,
    for: '1m',
    severity: 'warning',
    summary: 'The balancer agent at {{ $labels.instance }} cannot be scraped',
    description: 'HAProxy keeps the nodes it has and checks them, but nodes that join get no clients.',
  },
  {
    name: 'WeirBalancerAgentBlind',
    expr: `${q.value('weir_balancer_registry_up')} == 0 or ${q.value('weir_balancer_haproxy_up')} == 0`,
    for: '30s',
    severity: 'warning',
    summary: 'The balancer agent at {{ $labels.instance }} does not reach Redis or HAProxy',
    description: 'HAProxy keeps the nodes it has; those that join get no clients. Its /health names the reason.',
  },
  {
    name: 'WeirBalancerSlotsExhausted',
    expr: `${q.value('weir_balancer_members_unplaced')} > 0`,
    for: '30s',
    severity: 'critical',
    summary: '{{ $value }} nodes found no slot in HAProxy',
    description:
      'They run and get no clients. Render the configuration with more slots; the log of the agent names the nodes.',
  },
];

/** The rules in the form Prometheus reads. */
export function alertRulesFile(): string {
  const rules = alertRules.map(({ name, expr, for: holds, severity, summary, description }) => ({
    alert: name,
    expr,
    for: holds,
    labels: { severity },
    annotations: { summary, description, dashboard: `/d/${clusterDashboardUid}` },
  }));
  const text = stringify({ groups: [{ name: 'weir', rules }] }, { lineWidth: 0 });
  return `# Alert rules of a Weir cluster. Generated from alerts.ts by generate.ts; do not edit.\n${text}`;
}
