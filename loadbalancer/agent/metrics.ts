// The metrics of the balancer agent, declared once, and their text for Prometheus.
import type { SlotChange } from '../membership.ts';

const CHANGES: readonly SlotChange['kind'][] = ['join', 'return', 'drain', 'weigh', 'ask', 'ask-nobody', 'free'];
const STAGES = ['registry', 'haproxy'] as const;
export type AgentStage = (typeof STAGES)[number];

export interface AgentMetric {
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** The only label and all its values. */
  readonly label?: { readonly name: string; readonly values: readonly string[] };
}

export const agentMetrics = {
  weir_balancer_registry_up: { type: 'gauge', help: '1 while the registry of nodes can be read and lists any.' },
  weir_balancer_haproxy_up: { type: 'gauge', help: '1 while the Runtime API of HAProxy answers.' },
  weir_balancer_members: {
    type: 'gauge',
    help: 'Nodes the agent believes in, by the state they announced.',
    label: { name: 'state', values: ['ready', 'draining', 'not_ready'] },
  },
  weir_balancer_members_unplaced: { type: 'gauge', help: 'Nodes that got no slot in HAProxy: more slots are needed.' },
  weir_balancer_slots_free: { type: 'gauge', help: 'Slots of HAProxy that a further node could have.' },
  weir_balancer_records_ignored: { type: 'gauge', help: 'Nodes in the registry that announce no usable address.' },
  weir_balancer_changes_total: {
    type: 'counter',
    help: 'Changes made to slots of HAProxy, by kind.',
    label: { name: 'kind', values: CHANGES },
  },
  weir_balancer_errors_total: {
    type: 'counter',
    help: 'Rounds that failed, by what did not answer.',
    label: { name: 'stage', values: STAGES },
  },
} as const satisfies Record<string, AgentMetric>;

export type AgentMetricName = keyof typeof agentMetrics;

/** Values by metric: a number, or a number by value of its label. Absent ones are 0. */
export type AgentMetricValues = Readonly<Partial<Record<AgentMetricName, number | Readonly<Record<string, number>>>>>;

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Prometheus text format. */
export const exposition = (values: AgentMetricValues): string =>
  Object.entries<AgentMetric>(agentMetrics)
    .map(([name, { type, help, label }]) => {
      const value = values[name as AgentMetricName] ?? 0;
      const samples =
        label === undefined
          ? [`${name} ${typeof value === 'number' ? value : 0}`]
          : label.values.map((one) => {
              const labelled = typeof value === 'number' ? value : (value[one] ?? 0);
              return `${name}{${label.name}="${one}"} ${labelled}`;
            });
      return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples, ''].join('\n');
    })
    .join('');
