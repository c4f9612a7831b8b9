// Turns short panel definitions into Grafana panels: one look for all dashboards.
import {
  BigValueColorMode,
  BigValueGraphMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  type Panel,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard';
import {
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  PanelBuilder as Heatmap,
  YAxisConfigBuilder,
} from '@grafana/grafana-foundation-sdk/heatmap';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as Table } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as Timeseries } from '@grafana/grafana-foundation-sdk/timeseries';

/** Grafana's names of the units in use. */
export type Unit = 'short' | 's' | 'ms' | 'bytes' | 'Bps' | 'ops' | 'percentunit' | 'none' | 'bool';

export interface PanelQuery {
  readonly expr: string;
  /** `{{instance}}` and the like. */
  readonly legend: string;
}

interface PanelCommon {
  readonly title: string;
  /** What it tells during an incident and where to look next. */
  readonly description: string;
  readonly queries: readonly PanelQuery[];
  readonly unit: Unit;
  /** Columns of 24; default 8. */
  readonly width?: number;
}

export type PanelDefinition = PanelCommon &
  (
    | { readonly kind: 'lines'; readonly max?: number; readonly warnAbove?: number }
    | { readonly kind: 'stacked' }
    | { readonly kind: 'stat'; readonly good: 'high' | 'low' | 'neutral'; readonly limit?: number }
    | { readonly kind: 'heatmap' }
    | { readonly kind: 'table'; readonly hide: readonly string[] }
  );

export interface RowDefinition {
  readonly title: string;
  readonly panels: readonly PanelDefinition[];
}

const defaultWidth = 8;
const chartHeight = 7;
const statHeight = 4;
const datasource = { type: 'prometheus', uid: '${datasource}' };

/** `id` is the panel's number in its dashboard; links and alerts refer to it. */
export function renderPanel(definition: PanelDefinition, id: number): { build(): Panel } {
  const panel = builderOf(definition)
    .id(id)
    .title(definition.title)
    .description(definition.description)
    .datasource(datasource)
    .unit(definition.unit)
    .span(definition.width ?? defaultWidth)
    .height(definition.kind === 'stat' ? statHeight : chartHeight);
  for (const [index, query] of definition.queries.entries()) panel.withTarget(renderQuery(definition, query, index));
  return panel;
}

function renderQuery(definition: PanelDefinition, { expr, legend }: PanelQuery, index: number): DataqueryBuilder {
  const query = new DataqueryBuilder()
    .refId(String.fromCharCode('A'.charCodeAt(0) + index))
    .datasource(datasource)
    .expr(expr)
    .legendFormat(legend);
  switch (definition.kind) {
    case 'heatmap':
      return query.range().format(PromQueryFormat.Heatmap);
    case 'table':
      return query.instant().format(PromQueryFormat.Table);
    case 'stat':
    case 'lines':
    case 'stacked':
      return query.range();
  }
}

function builderOf(definition: PanelDefinition): Timeseries | Stat | Heatmap | Table {
  switch (definition.kind) {
    case 'lines': {
      const lines = chart().fillOpacity(8);
      if (definition.max !== undefined) lines.max(definition.max);
      if (definition.warnAbove !== undefined) lines.thresholds(thresholds('low', definition.warnAbove));
      return lines;
    }
    case 'stacked':
      return chart().fillOpacity(30).stacking(new StackingConfigBuilder().mode(StackingMode.Normal));
    case 'stat': {
      const stat = new Stat()
        .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
        .graphMode(BigValueGraphMode.Area)
        .colorMode(definition.good === 'neutral' ? BigValueColorMode.None : BigValueColorMode.Background);
      if (definition.good !== 'neutral') stat.thresholds(thresholds(definition.good, definition.limit ?? 1));
      return stat;
    }
    case 'heatmap':
      return new Heatmap()
        .color(new HeatmapColorOptionsBuilder().mode(HeatmapColorMode.Scheme).scheme('Spectral').steps(64))
        .yAxis(new YAxisConfigBuilder().unit(definition.unit));
    case 'table':
      return new Table().withTransformation({
        id: 'organize',
        options: { excludeByName: Object.fromEntries(definition.hide.map((column) => [column, true])) },
      });
  }
}

function chart(): Timeseries {
  return new Timeseries()
    .min(0)
    .lineWidth(1)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending));
}

/** `high`: green from the limit on. `low`: red from the limit on. */
function thresholds(good: 'high' | 'low', limit: number): ThresholdsConfigBuilder {
  const [below, above] = good === 'high' ? ['red', 'green'] : ['green', 'red'];
  const steps: Threshold[] = [
    { color: below, value: null },
    { color: above, value: limit },
  ];
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps);
}
