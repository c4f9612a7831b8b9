// Series of incidents and the alerts each of them must raise, in the notation of promtool.

/** Series → values per interval, as in promtool: `1x60` is 61 times 1, `0+5x60` rises by 5 each time. */
export type Series = Readonly<Record<string, string>>;

export interface Incident {
  readonly name: string;
  /** Replaces or adds to the series of a healthy cluster. */
  readonly series: Series;
  readonly firing: readonly string[];
}

/** Seconds between two values. */
export const intervalSeconds = 15;
/** When the alerts are looked at. */
export const evaluatedAtMinutes = 17;

/** One value for each interval until long after the evaluation. */
const always = (value: number): string => `${value}x80`;
const rising = (perInterval: number): string => `0+${perInterval}x80`;
/** `before` for 10 minutes, then `after`; `gone` is what Prometheus notes when a target or series disappears. */
const turns = (before: number, after: number | 'gone'): string =>
  `${before}x40 ${after === 'gone' ? 'stale' : `${after}x40`}`;

const node = (name: string, instance: string, labels = ''): string =>
  `${name}{job="weir",instance="${instance}"${labels}}`;
const [a, b, c] = ['a:8081', 'b:8081', 'c:8081'] as const;

function healthyNode(instance: string): Record<string, string> {
  const bucket = (name: string, le: string): string => node(`${name}_bucket`, instance, `,le="${le}"`);
  return {
    [node('up', instance)]: always(1),
    [node('weir_node_ready', instance)]: always(1),
    [node('weir_node_draining', instance)]: always(0),
    [node('weir_broker_ready', instance)]: always(1),
    [node('weir_node_deaf', instance)]: always(0),
    [node('weir_broker_interruptions_total', instance)]: always(0),
    [node('weir_broker_errors_total', instance, ',stage="subscribe"')]: always(0),
    [node('weir_publications_total', instance, ',source="http"')]: rising(100),
    [node('weir_publish_errors_total', instance, ',name="broker_unavailable"')]: always(0),
    [node('weir_gaps_total', instance, ',reason="lost"')]: always(0),
    [node('weir_gaps_total', instance, ',reason="conflated"')]: rising(3),
    [bucket('weir_publish_duration_seconds', '0.01')]: rising(100),
    [bucket('weir_publish_duration_seconds', '1')]: rising(100),
    [bucket('weir_publish_duration_seconds', '+Inf')]: rising(100),
    [bucket('weir_delivery_latency_seconds', '0.02')]: rising(100),
    [bucket('weir_delivery_latency_seconds', '1')]: rising(100),
    [bucket('weir_delivery_latency_seconds', '+Inf')]: rising(100),
    [node('weir_event_loop_lag_seconds', instance, ',quantile="p99"')]: always(0.012),
    [node('weir_event_loop_lag_seconds', instance, ',quantile="max"')]: always(0.3),
    [node('weir_event_loop_utilization', instance)]: always(0.4),
    [node('weir_connections', instance)]: always(1000),
    [node('weir_connections_closed_total', instance, ',code="1001"')]: rising(15),
    [node('weir_connections_closed_total', instance, ',code="3008"')]: always(0),
    [node('weir_connections_refused_total', instance, ',reason="origin"')]: always(0),
    [node('weir_credential_reloads_total', instance, ',outcome="refused"')]: always(0),
    [node('weir_credential_reloads_total', instance, ',outcome="applied"')]: always(1),
    [node('weir_connections_parked', instance)]: always(3),
    [node('weir_overload_level', instance)]: always(0),
    [node('weir_overload_engaged_total', instance, ',rung="thin_ephemeral",reason="lag"')]: always(2),
    [node('weir_outbox_bytes', instance)]: always(1000),
    [node('weir_budget_bytes', instance, ',part="outboxes"')]: always(1000),
    [node('weir_budget_bytes', instance, ',part="rings"')]: always(500_000),
    [node('weir_budget_relief_total', instance, ',measure="rings"')]: rising(1),
    [node('weir_budget_relief_total', instance, ',measure="closed"')]: always(0),
    [node('weir_memory_budget_bytes', instance)]: always(1_000_000),
    [node('weir_hook_events_backlog_age_seconds', instance)]: always(0.2),
    [node('weir_hook_events_lost_total', instance)]: always(0),
    [node('weir_http_requests_total', instance, ',route="/v1/publish",status="200"')]: rising(100),
    [node('weir_http_requests_total', instance, ',route="/v1/publish",status="503"')]: always(0),
    [node('process_open_fds', instance)]: always(1200),
    [node('process_max_fds', instance)]: always(20000),
  };
}

const balancer = (name: string, labels = ''): string => `${name}{job="haproxy",instance="haproxy:8404"${labels}}`;
const activeServers = balancer('haproxy_backend_active_servers', ',proxy="clients"');

const agent = (name: string): string => `${name}{job="balancer",instance="balancer-agent:8405"}`;

export const healthyCluster: Series = {
  ...healthyNode(a),
  ...healthyNode(b),
  ...healthyNode(c),
  [balancer('up')]: always(1),
  [activeServers]: always(3),
  [balancer('haproxy_process_current_connections')]: always(3000),
  [balancer('haproxy_process_max_connections')]: always(100_000),
  [agent('up')]: always(1),
  [agent('weir_balancer_registry_up')]: always(1),
  [agent('weir_balancer_haproxy_up')]: always(1),
  [agent('weir_balancer_members_unplaced')]: always(0),
};

/** Every series ends, but those that stay. */
const vanished = (stays: (series: string) => boolean): Series =>
  Object.fromEntries(
    Object.keys(healthyCluster)
      .filter((series) => !stays(series))
      .map((series) => [series, turns(1, 'gone')]),
  );

export const incidents: readonly Incident[] = [
  { name: 'a healthy cluster', series: {}, firing: [] },
  {
    name: 'a rolling restart: one node drains and the balancer knows',
    series: {
      [node('weir_node_ready', a)]: turns(1, 0),
      [node('weir_node_draining', a)]: turns(0, 1),
      [activeServers]: turns(3, 2),
    },
    firing: [],
  },
  {
    name: 'a node that is up and not ready',
    series: { [node('weir_node_ready', a)]: turns(1, 0), [activeServers]: turns(3, 2) },
    firing: ['WeirNodeNotReady'],
  },
  {
    name: 'a node whose process hangs',
    series: {
      [node('up', a)]: turns(1, 0),
      [node('weir_node_ready', a)]: turns(1, 'gone'),
      [activeServers]: turns(3, 2),
    },
    firing: ['WeirNodeUnreachable', 'WeirNodesMissing'],
  },
  {
    name: 'an application that does not take lifecycle events',
    series: { [node('weir_hook_events_backlog_age_seconds', b)]: turns(0, 120) },
    firing: ['WeirEventsWaiting'],
  },
  {
    name: 'lifecycle events that were lost',
    series: { [node('weir_hook_events_lost_total', a)]: '0x60 7x20' },
    firing: ['WeirEventsLost'],
  },
  {
    name: 'a node that vanished from service discovery',
    series: { ...vanished((series) => !series.includes(`instance="${a}"`)), [activeServers]: turns(3, 2) },
    firing: ['WeirNodesMissing'],
  },
  {
    name: 'one node left of three',
    series: {
      ...vanished((series) => !series.includes(`instance="${a}"`) && !series.includes(`instance="${b}"`)),
      [activeServers]: turns(3, 1),
    },
    firing: ['WeirNodesMissing', 'WeirNoSpareNode'],
  },
  {
    name: 'everything gone, Prometheus sees no series at all',
    series: vanished(() => false),
    firing: ['WeirNoNodeReady'],
  },
  {
    name: 'Redis away: no node is ready',
    series: Object.fromEntries(
      [a, b, c].flatMap((instance) => [
        [node('weir_node_ready', instance), turns(1, 0)],
        [node('weir_broker_ready', instance), turns(1, 0)],
        [node('weir_publish_errors_total', instance, ',name="broker_unavailable"'), rising(100)],
        [node('weir_http_requests_total', instance, ',route="/v1/publish",status="503"'), rising(100)],
        [activeServers, turns(3, 0)],
      ]),
    ),
    firing: ['WeirNoNodeReady', 'WeirNodeNotReady', 'WeirBrokerDegraded', 'WeirPublishErrors', 'WeirServerErrors'],
  },
  {
    name: 'a node that publishes and hears nothing',
    series: {
      [node('weir_node_deaf', a)]: turns(0, 1),
      [node('weir_broker_ready', a)]: turns(1, 0),
      [node('weir_node_ready', a)]: turns(1, 0),
      [activeServers]: turns(3, 2),
    },
    firing: ['WeirNodeDeaf', 'WeirBrokerDegraded', 'WeirNodeNotReady'],
  },
  {
    name: 'a broker link that flaps',
    series: { [node('weir_broker_interruptions_total', a)]: rising(1) },
    firing: ['WeirBrokerUnstable'],
  },
  {
    name: 'a driver that keeps failing in the background',
    series: { [node('weir_broker_errors_total', a, ',stage="subscribe"')]: rising(6) },
    firing: ['WeirBrokerErrors'],
  },
  {
    name: 'publications lost in a failover',
    series: { [node('weir_gaps_total', a, ',reason="lost"')]: '0x60 7x20' },
    firing: ['WeirMessagesLost'],
  },
  {
    name: 'the very first loss of a node: the counter did not exist before',
    series: {
      [node('weir_gaps_total', a, ',reason="lost"')]: '_x60 7x20',
      [node('weir_gaps_total', b, ',reason="lost"')]: '_x80',
      [node('weir_gaps_total', c, ',reason="lost"')]: '_x80',
    },
    firing: ['WeirMessagesLost'],
  },
  {
    name: 'a slow Redis',
    series: Object.fromEntries(
      [a, b, c].map((instance) => [node('weir_publish_duration_seconds_bucket', instance, ',le="0.01"'), always(0)]),
    ),
    firing: ['WeirPublishSlow'],
  },
  {
    name: 'one node that delivers late',
    series: { [node('weir_delivery_latency_seconds_bucket', a, ',le="0.02"')]: always(0) },
    firing: ['WeirDeliverySlow'],
  },
  {
    name: 'a node whose event loop is blocked again and again',
    series: {
      [node('weir_event_loop_lag_seconds', a, ',quantile="p99"')]: turns(0.012, 0.4),
      [node('weir_event_loop_utilization', a)]: always(0.97),
    },
    firing: ['WeirEventLoopLag', 'WeirNodeFull'],
  },
  {
    name: 'a node whose network takes no more: its clients are parked',
    series: { [node('weir_connections_parked', a)]: turns(3, 400) },
    firing: ['WeirConnectionsParked'],
  },
  {
    name: 'a small node with a few clients on a bad network',
    series: { [node('weir_connections', a)]: always(100), [node('weir_connections_parked', a)]: always(15) },
    firing: [],
  },
  {
    name: 'many clients that read no replies',
    series: { [node('weir_connections_closed_total', a, ',code="3008"')]: rising(3) },
    firing: ['WeirSlowConsumers'],
  },
  {
    name: 'stalled sockets that fill the memory beside the rings',
    series: { [node('weir_budget_bytes', a, ',part="outboxes"')]: turns(1000, 850_000) },
    firing: ['WeirMemoryBudget'],
  },
  {
    name: 'a memory budget that is used up',
    series: { [node('weir_budget_relief_total', a, ',measure="closed"')]: '0x60 7x20' },
    firing: ['WeirMemoryBudgetUsedUp'],
  },
  {
    name: 'a node that refuses anonymous newcomers',
    series: { [node('weir_overload_level', a)]: turns(0, 3) },
    firing: ['WeirOverloaded'],
  },
  {
    name: 'a node that was overloaded for a moment',
    series: { [node('weir_overload_level', a)]: '0x66 6x1 0x13' },
    firing: [],
  },
  {
    name: 'a node that sheds publishes',
    series: { [node('weir_overload_level', a)]: turns(0, 8) },
    firing: ['WeirOverloaded', 'WeirShedding'],
  },
  {
    name: 'a threshold at the usual load',
    series: { [node('weir_overload_engaged_total', a, ',rung="thin_ephemeral",reason="lag"')]: rising(1) },
    firing: ['WeirOverloadFlapping'],
  },
  {
    name: 'a page from an origin that is not allowed',
    series: { [node('weir_connections_refused_total', a, ',reason="origin"')]: rising(30) },
    firing: ['WeirConnectionsRefused'],
  },
  {
    name: 'a slip in the file of API keys',
    series: { [node('weir_credential_reloads_total', a, ',outcome="refused"')]: '0x60 1x20' },
    firing: ['WeirCredentialsRefused'],
  },
  {
    name: 'clients that come and go without rest',
    series: { [node('weir_connections_closed_total', a, ',code="1001"')]: rising(900) },
    firing: ['WeirConnectionChurn'],
  },
  {
    name: 'a node that runs out of file descriptors',
    series: { [node('process_open_fds', a)]: turns(1200, 19000) },
    firing: ['WeirFileDescriptors'],
  },
  {
    name: 'HAProxy down',
    series: { [balancer('up')]: turns(1, 0), [activeServers]: turns(3, 'gone') },
    firing: ['WeirBalancerDown'],
  },
  {
    name: 'a node HAProxy does not reach',
    series: { [activeServers]: turns(3, 2) },
    firing: ['WeirBalancerSeesFewerNodes'],
  },
  {
    name: 'HAProxy at its limit',
    series: { [balancer('haproxy_process_current_connections')]: turns(3000, 95_000) },
    firing: ['WeirBalancerFull'],
  },
  {
    name: 'the balancer agent gone',
    series: { [agent('up')]: turns(1, 0), [agent('weir_balancer_registry_up')]: turns(1, 'gone') },
    firing: ['WeirBalancerAgentDown'],
  },
  {
    name: 'the balancer agent without Redis',
    series: { [agent('weir_balancer_registry_up')]: turns(1, 0) },
    firing: ['WeirBalancerAgentBlind'],
  },
  {
    name: 'the balancer agent without HAProxy',
    series: { [agent('weir_balancer_haproxy_up')]: turns(1, 0) },
    firing: ['WeirBalancerAgentBlind'],
  },
  {
    name: 'more nodes than slots',
    series: { [agent('weir_balancer_members_unplaced')]: turns(0, 1) },
    firing: ['WeirBalancerSlotsExhausted'],
  },
];
