// The queries of dashboards: the selected nodes, the window Grafana derives from the zoom.
import { createPromql } from '../promql.ts';

/** Name of the dashboard variable that selects nodes. */
export const instanceVariable = 'instance';

export const q = createPromql({
  window: '$__rate_interval',
  matchers: {
    weir: { job: 'weir', instance: `=~$${instanceVariable}` },
    haproxy: { job: 'haproxy' },
    balancer: { job: 'balancer' },
  },
});
