// Row "Overload": how far a node sheds load, which signal drives it, and who was turned away.
import type { RowDefinition } from '../../panels.ts';
import { sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const overload: RowDefinition = {
  title: 'Overload',
  panels: [
    {
      kind: 'lines',
      title: 'Level of the overload ladder',
      description:
        'Rungs engaged: 1 thinned ephemeral messages, 2 longer coalescing, 3 no new anonymous connections, 4 no fallback transports, 5 idle connections asked to leave, 6 no new connections but resumes, 7 fewer client publishes, 8 fewer server publishes. A staircase up and down is the ladder at work; a plateau is a node that is too small.',
      unit: 'none',
      max: 8,
      warnAbove: 3,
      queries: [{ expr: q.value('weir_overload_level'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Signals against their thresholds',
      description:
        '1 presses the ladder up, below 0.8 it may go down. The highest line is the reason: `lag` and `cpu` a full loop, `memory` the limit of the container, `buffered` clients that do not read, `broker` a slow Redis.',
      unit: 'none',
      warnAbove: 1,
      queries: [{ expr: q.value('weir_overload_signal_ratio'), legend: '{{instance}} {{signal}}' }],
    },
    {
      kind: 'lines',
      title: 'Reasons of the engaged rungs',
      description: 'Rungs engaged per signal that holds them; two signals at once are two lines.',
      unit: 'none',
      queries: [{ expr: sum(q.value('weir_overload_rung'), 'instance', 'reason'), legend: '{{instance}} {{reason}}' }],
    },
    {
      kind: 'stacked',
      title: 'Turned away',
      description:
        'Connections and publishes refused by each rung, or because too many publications were under way (`publish_bound`), and idle connections asked to leave. All were told when to come back; publishers that ignore it show here as a rate that does not fall.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_overload_refusals_total'), 'rung'), legend: '{{rung}}' }],
    },
    {
      kind: 'stacked',
      title: 'Measures for the memory budget',
      description:
        'In their order: `rings` channel logs were shrunk, `parked` largest debtors get nothing more until they drain, `closed` with 3008, `cut` because they did not drain within 2 s, `refused` requests whose body had no room.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_budget_relief_total'), 'measure'), legend: '{{measure}}' }],
    },
    {
      kind: 'stacked',
      title: 'Rungs engaged anew',
      description:
        'How often each rung came, by signal, and went. One that comes again and again has a threshold at its usual load.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_overload_engaged_total'), 'rung', 'reason'), legend: '{{rung}} {{reason}}' },
        { expr: sum(q.rate('weir_overload_released_total'), 'rung'), legend: '{{rung}} released' },
      ],
    },
    {
      kind: 'lines',
      title: 'Since the last change of each rung',
      description:
        'How long ago each rung was engaged and released last, to the millisecond: the order in which they came and went, however quickly. A sawtooth that restarts all the time is a ladder that swings.',
      unit: 's',
      queries: [
        {
          expr: `time() - ${q.value('weir_overload_changed_timestamp_seconds')}`,
          legend: '{{instance}} {{rung}} {{change}}',
        },
      ],
    },
  ],
};
