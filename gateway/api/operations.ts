// Calls for operators and machines: statistics, health, metrics, and the description of the API itself.
import type { Health } from '../../protocol/http.ts';
import { openApiDocument } from '../../protocol/openapi.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { json } from './answers.ts';
import type { ApiRoute } from './api-route.ts';
import type { ClusterView } from './cluster-view.ts';

export interface OperationRouteOptions {
  readonly cluster: ClusterView;
  readonly metrics: MetricsRegistry;
  /** Readiness as the load balancer sees it. */
  readonly health: () => Health;
  /** True on the internal listener, where /metrics needs no key. */
  readonly openMetrics: boolean;
}

/** 200 ready, 404 draining (HAProxy keeps existing sockets and sends no new ones), 503 not ready. */
const HEALTH_STATUS: Readonly<Record<Health['status'], number>> = {
  live: 200,
  ready: 200,
  draining: 404,
  not_ready: 503,
};
/** `Retry-After` of a node that is not ready: about as often as load balancers ask, s. */
const NOT_READY_RETRY_AFTER = '1';

export const createOperationRoutes = (options: OperationRouteOptions): ApiRoute[] => {
  const { cluster, metrics, health, openMetrics } = options;
  const openApi = JSON.stringify(openApiDocument());
  const exposition = async () => ({
    status: 200,
    headers: { 'content-type': metrics.contentType },
    body: await metrics.exposition(),
  });
  return [
    {
      method: 'get',
      path: '/v1/stats',
      access: 'read',
      handle: async () => json(await cluster.stats()),
    },
    {
      method: 'get',
      path: '/health/live',
      access: 'public',
      handle: () => json({ status: 'live', reasons: [] } satisfies Health),
    },
    {
      method: 'get',
      path: '/health/ready',
      access: 'public',
      handle: () => {
        const state = health();
        const answer = json(state, HEALTH_STATUS[state.status]);
        if (answer.status !== 503) return answer;
        return { ...answer, headers: { ...answer.headers, 'retry-after': NOT_READY_RETRY_AFTER } };
      },
    },
    {
      method: 'get',
      path: '/health/accepting',
      access: 'public',
      // For a balancer 404 means "no new connections": those that are there stay. 503 would have it cut them, and a node
      // without its broker still serves its clients from its rings and tells them so.
      handle: () => {
        const state = health();
        return json(state, state.status === 'ready' ? 200 : 404);
      },
    },
    openMetrics
      ? { method: 'get', path: '/metrics', access: 'public', handle: exposition }
      : { method: 'get', path: '/metrics', access: 'metrics', handle: exposition },
    {
      method: 'get',
      path: '/v1/openapi.json',
      access: 'public',
      handle: () => ({ status: 200, headers: { 'content-type': 'application/json' }, body: openApi }),
    },
  ];
};
