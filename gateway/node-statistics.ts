// A node's figures: its part of the cluster-wide statistics, and the gauges read at each scrape.
import type { NodeStats } from '../protocol/http.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { BUDGET_PARTS, type ByteBudget } from './fanout/byte-budget.ts';
import type { Fanout } from './fanout/fanout.ts';
import type { EventLoopMeter } from './observability/event-loop.ts';
import { createRateMeter } from './observability/rates.ts';
import type { MetricsRegistry } from './observability/registry.ts';
import type { Connection } from './session/connection.ts';

export interface NodeStatisticsOptions {
  readonly config: Config;
  readonly version: string;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly loop: EventLoopMeter;
  readonly fanout: Fanout;
  readonly budget: ByteBudget<Connection>;
  readonly connections: Iterable<Connection> & { readonly size: number };
  readonly brokerState: () => 'ready' | 'degraded';
  readonly nodeState: () => 'ready' | 'draining' | 'not_ready';
}

export interface NodeStatistics {
  readonly own: () => NodeStats;
  /** Closes an interval of the rates; repeated about once a second. */
  readonly sample: () => void;
}

export const createNodeStatistics = (options: NodeStatisticsOptions): NodeStatistics => {
  const { config, version, clock, metrics, loop, fanout, budget, connections, brokerState, nodeState } = options;
  const { hub } = fanout;
  const startedAtMs = clock.monotonicMs();
  const bufferedBytes = (): number => {
    let sum = 0;
    for (const connection of connections) sum += connection.bufferedBytes();
    return sum;
  };
  const rateMeter = createRateMeter(clock, () => ({
    publications: metrics.hot.published,
    deliveries: metrics.hot.deliveries,
    connects: metrics.hot.connectionsOpened,
  }));

  /** Since the last time it was asked. */
  const pingRatio = (() => {
    let before = { pings: 0, messages: 0 };
    return (): number => {
      const { pingsSent: pings, deliveries, framesReceived } = metrics.hot;
      const messages = deliveries + framesReceived;
      const ratio = messages === before.messages ? 0 : (pings - before.pings) / (messages - before.messages);
      before = { pings, messages };
      return ratio;
    };
  })();

  metrics.gauge('weir_node_info', () => [
    { labels: { node: config.nodeName, version, profile: config.profile }, value: 1 },
  ]);
  metrics.gauge('weir_node_ready', () => (nodeState() === 'ready' ? 1 : 0));
  metrics.gauge('weir_node_draining', () => (nodeState() === 'draining' ? 1 : 0));
  metrics.gauge('weir_connections', () => connections.size);
  metrics.gauge('weir_subscriptions', () => hub.subscriptionCount);
  metrics.gauge('weir_channels', () => hub.channelCount);
  metrics.gauge('weir_ping_message_ratio', pingRatio);
  metrics.gauge('weir_coalesce_delay_seconds', () => fanout.currentDelayMs / 1000);
  metrics.gauge('weir_fanout_backlog_seconds', () => fanout.backlogMs / 1000);
  metrics.gauge('weir_outbox_bytes', bufferedBytes);
  metrics.gauge('weir_ring_bytes', () => fanout.ringBytes);
  metrics.gauge('weir_connections_parked', () => {
    let parked = 0;
    for (const connection of connections) if (connection.parked) parked++;
    return parked;
  });
  metrics.gauge('weir_subscriptions_behind', () => {
    let behind = 0;
    for (const channel of hub.channels()) behind += channel.behind.size;
    return behind;
  });
  metrics.gauge('weir_broker_ready', () => (brokerState() === 'ready' ? 1 : 0));
  metrics.gauge('weir_event_loop_lag_seconds', () =>
    Object.entries(loop.takeLag()).map(([quantile, value]) => ({ labels: { quantile }, value })),
  );
  metrics.gauge('weir_event_loop_utilization', () => loop.utilisation);
  metrics.gauge('weir_budget_bytes', () => [
    { labels: { part: 'outboxes' }, value: budget.outboxBytes },
    ...BUDGET_PARTS.map((part) => ({ labels: { part }, value: budget.bytesOf(part) })),
  ]);
  metrics.gauge('weir_memory_budget_bytes', () => config.memoryBudgetBytes);

  return {
    sample: () => rateMeter.sample(),
    own: () => ({
      node: config.nodeName,
      connections: connections.size,
      subscriptions: hub.subscriptionCount,
      channels: hub.channelCount,
      rates: rateMeter.rates,
      broker: brokerState(),
      state: nodeState(),
      version,
      uptimeMs: Math.round(clock.monotonicMs() - startedAtMs),
      bufferedBytes: bufferedBytes(),
      rssBytes: process.memoryUsage.rss(),
      eventLoopLagMs: loop.lagMs,
    }),
  };
};
