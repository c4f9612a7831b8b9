// Every metric a dashboard or alert may name: those a node declares, and those of the balancer agent, Node.js, HAProxy and Prometheus beside them.
import { type MetricDeclaration, type MetricName, metricDeclarations } from '../gateway/observability/metrics.ts';
import { type AgentMetric, type AgentMetricName, agentMetrics } from '../loadbalancer/agent/metrics.ts';

/** The scrape jobs of prometheus.yml. */
export type Job = 'weir' | 'haproxy' | 'balancer';

interface CatalogEntry {
  readonly job: Job;
  readonly type: MetricDeclaration['type'];
  readonly labels: readonly string[];
}

const entry =
  (job: Job) =>
  (type: CatalogEntry['type'], ...labels: string[]): CatalogEntry => ({ job, type, labels });

const ofProcess = entry('weir');
const ofHaproxy = entry('haproxy');

/** What the metrics library of a node exports by itself, under names used across the Node.js world. */
export const processMetrics = {
  process_cpu_seconds_total: ofProcess('counter'),
  process_start_time_seconds: ofProcess('gauge'),
  process_resident_memory_bytes: ofProcess('gauge'),
  process_open_fds: ofProcess('gauge'),
  process_max_fds: ofProcess('gauge'),
  nodejs_heap_size_used_bytes: ofProcess('gauge'),
  nodejs_external_memory_bytes: ofProcess('gauge'),
  nodejs_gc_duration_seconds: ofProcess('histogram', 'kind'),
} as const satisfies Record<string, CatalogEntry>;

/** What HAProxy's own exporter calls the balancer's view of the cluster. */
export const haproxyMetrics = {
  haproxy_process_current_connections: ofHaproxy('gauge'),
  haproxy_process_max_connections: ofHaproxy('gauge'),
  haproxy_process_idle_time_percent: ofHaproxy('gauge'),
  haproxy_frontend_connections_total: ofHaproxy('counter', 'proxy'),
  haproxy_frontend_http_responses_total: ofHaproxy('counter', 'proxy', 'code'),
  haproxy_backend_active_servers: ofHaproxy('gauge', 'proxy'),
  haproxy_backend_current_queue: ofHaproxy('gauge', 'proxy'),
  haproxy_backend_connection_errors_total: ofHaproxy('counter', 'proxy'),
  haproxy_backend_response_errors_total: ofHaproxy('counter', 'proxy'),
  haproxy_backend_redispatch_warnings_total: ofHaproxy('counter', 'proxy'),
  haproxy_server_status: ofHaproxy('gauge', 'proxy', 'server', 'state'),
  haproxy_server_current_sessions: ofHaproxy('gauge', 'proxy', 'server'),
  haproxy_server_check_failures_total: ofHaproxy('counter', 'proxy', 'server'),
} as const satisfies Record<string, CatalogEntry>;

export type ChartedMetric = MetricName | AgentMetricName | keyof typeof processMetrics | keyof typeof haproxyMetrics;

const balancerMetrics = Object.fromEntries(
  Object.entries<AgentMetric>(agentMetrics).map(([name, { type, label }]) => [
    name,
    { job: 'balancer', type, labels: label === undefined ? [] : [label.name] },
  ]),
) as unknown as Record<AgentMetricName, CatalogEntry>;

const nodeMetrics = Object.fromEntries(
  Object.entries(metricDeclarations).map(([name, { type, labels }]: [string, MetricDeclaration]) => [
    name,
    { job: 'weir', type, labels },
  ]),
) as Record<MetricName, CatalogEntry>;

export const catalog: Readonly<Record<ChartedMetric, CatalogEntry>> = {
  ...nodeMetrics,
  ...processMetrics,
  ...haproxyMetrics,
  ...balancerMetrics,
};

/** Suffixes of the series a histogram consists of. */
const histogramSuffix = /_(?:bucket|sum|count)$/;

/** The metrics named in PromQL text, histogram series as the histogram they belong to. */
export function metricsNamedIn(text: string): Set<string> {
  const names = new Set<string>();
  for (const name of text.match(/\b(?:weir|process|nodejs|haproxy)_[a-z0-9_]+/g) ?? []) {
    const base = name.replace(histogramSuffix, '');
    names.add(name in catalog ? name : base);
  }
  return names;
}
