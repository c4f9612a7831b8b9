// The dashboard of a Weir cluster: read from the top, it explains an incident without the logs.
/* eslint-disable @typescript-eslint/no-deprecated -- the classic schema is the one that file provisioning reads in every Grafana in use */
import {
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { renderPanel, type RowDefinition } from '../panels.ts';
import { createPromql, sum } from '../promql.ts';
import { access } from './rows/access.ts';
import { backpressure } from './rows/backpressure.ts';
import { broker } from './rows/broker.ts';
import { fanOut } from './rows/fan-out.ts';
import { haproxy } from './rows/haproxy.ts';
import { health } from './rows/health.ts';
import { hooks } from './rows/hooks.ts';
import { latency } from './rows/latency.ts';
import { limits } from './rows/limits.ts';
import { overload } from './rows/overload.ts';
import { processRow } from './rows/process.ts';
import { sockets } from './rows/sockets.ts';
import { traffic } from './rows/traffic.ts';
import { instanceVariable } from './scope.ts';

/** Stable, because alerts link to it. */
export const clusterDashboardUid = 'weir-cluster';

export const clusterRows: readonly RowDefinition[] = [
  health,
  traffic,
  latency,
  fanOut,
  sockets,
  limits,
  access,
  backpressure,
  overload,
  broker,
  hooks,
  processRow,
  haproxy,
];

const datasource = { type: 'prometheus', uid: '${datasource}' };

/** Vertical lines on every graph: the events that most often stand at the start of an incident. */
const annotationQueries = createPromql({
  window: '1m',
  matchers: { weir: { job: 'weir' }, haproxy: { job: 'haproxy' }, balancer: { job: 'balancer' } },
});
export const annotations = [
  {
    name: 'Restart',
    color: 'purple',
    expr: `changes(${annotationQueries.value('process_start_time_seconds')}[1m]) > 0`,
    text: '{{instance}} started',
  },
  {
    name: 'Drain',
    color: 'blue',
    expr: `${annotationQueries.value('weir_node_draining')} == 1`,
    text: '{{instance}} drains',
  },
  {
    name: 'Broker interrupted',
    color: 'red',
    expr: `${sum(annotationQueries.increase('weir_broker_interruptions_total'), 'instance')} > 0`,
    text: '{{instance}} lost its broker link',
  },
] as const;

export function clusterDashboard(): Dashboard {
  const builder = new DashboardBuilder('Weir cluster')
    .uid(clusterDashboardUid)
    .description('Health, traffic, latency, sockets, backpressure, broker and balancer of a Weir cluster.')
    .tags(['weir', 'generated'])
    .readonly()
    .tooltip(DashboardCursorSync.Crosshair)
    .refresh('10s')
    .time({ from: 'now-1h', to: 'now' })
    .timezone('browser')
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'))
    .withVariable(
      new QueryVariableBuilder(instanceVariable)
        .label('Node')
        .datasource(datasource)
        .query('label_values(weir_node_info, instance)')
        .refresh(VariableRefresh.OnTimeRangeChanged)
        .sort(VariableSort.AlphabeticalAsc)
        .multi(true)
        .includeAll(true)
        .allValue('.*')
        .current({ text: 'All', value: '$__all' }),
    );
  for (const { name, color, expr, text } of annotations) {
    builder.annotation(
      new AnnotationQueryBuilder()
        .name(name)
        .datasource(datasource)
        .enable(true)
        .iconColor(color)
        .expr(expr)
        .step('15s')
        .titleFormat(name)
        .textFormat(text),
    );
  }
  let id = 1;
  for (const row of clusterRows) {
    builder.withRow(new RowBuilder(row.title).id(id));
    id += 1;
    for (const panel of row.panels) {
      builder.withPanel(renderPanel(panel, id));
      id += 1;
    }
  }
  return builder.build();
}
