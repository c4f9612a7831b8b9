// Row "Hooks": whether the application's backend decides in time, and what it decides.
import type { RowDefinition } from '../../panels.ts';
import { max, sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const hooks: RowDefinition = {
  title: 'Hooks',
  panels: [
    {
      kind: 'stacked',
      title: 'Calls by outcome',
      description:
        'Attempts to reach the application. `status` is 4xx or 5xx, `invalid` an answer of the wrong form, `open` and `full` were not sent: the circuit breaker or the queue.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_hook_calls_total'), 'hook', 'outcome'), legend: '{{hook}} {{outcome}}' }],
    },
    {
      kind: 'lines',
      title: 'Time of a call, p99',
      description: 'One attempt. Near `hookTimeoutMs` the application is too slow, and clients wait for it.',
      unit: 's',
      queries: [{ expr: q.quantile(0.99, 'weir_hook_duration_seconds', ['hook']), legend: '{{hook}}' }],
    },
    {
      kind: 'stacked',
      title: 'Decisions',
      description:
        'What clients got. `failed_closed`: refused because there was no answer; `failed_open`: allowed without one.',
      unit: 'ops',
      queries: [
        { expr: sum(q.rate('weir_hook_decisions_total'), 'hook', 'decision'), legend: '{{hook}} {{decision}}' },
      ],
    },
    {
      kind: 'lines',
      title: 'Waiting, retried, switched off',
      description:
        'Calls that wait for a place, retries a second, and nodes on which the circuit breaker of a hook is open.',
      unit: 'short',
      queries: [
        { expr: sum(q.value('weir_hook_waiting'), 'hook'), legend: '{{hook}} waiting' },
        { expr: sum(q.rate('weir_hook_retries_total'), 'hook'), legend: '{{hook}} retries' },
        { expr: sum(q.value('weir_hook_breaker_open'), 'hook'), legend: '{{hook}} open on nodes' },
      ],
    },
    {
      kind: 'stacked',
      title: 'Lifecycle events taken',
      description:
        'What the application was told: who came and went, which channels have somebody. `lost` stands for events that could not be kept.',
      unit: 'ops',
      queries: [{ expr: sum(q.rate('weir_hook_events_total'), 'event'), legend: '{{event}}' }],
    },
    {
      kind: 'lines',
      title: 'Lifecycle events that wait',
      description:
        'For the application (`backlog`, the same on every node), for the broker (`unwritten`, all nodes together), and lost a second.',
      unit: 'short',
      queries: [
        { expr: max(q.value('weir_hook_events_backlog')), legend: 'backlog' },
        { expr: sum(q.value('weir_hook_events_unwritten')), legend: 'unwritten' },
        { expr: sum(q.rate('weir_hook_events_lost_total')), legend: 'lost' },
      ],
    },
    {
      kind: 'lines',
      title: 'Age of the oldest lifecycle event',
      description: 'How long the application has not taken it. Beyond a second or two it does not answer with 2xx.',
      unit: 's',
      queries: [{ expr: max(q.value('weir_hook_events_backlog_age_seconds')), legend: 'oldest' }],
    },
  ],
};
