// Row "Process": the event loop, CPU and memory every other figure depends on.
import type { RowDefinition } from '../../panels.ts';
import { sum } from '../../promql.ts';
import { q } from '../scope.ts';

export const processRow: RowDefinition = {
  title: 'Process',
  panels: [
    {
      kind: 'lines',
      title: 'Event-loop lag',
      description:
        'Delay of the loop by quantile. It adds to every latency above; a high max alone is one long task, such as garbage collection.',
      unit: 's',
      warnAbove: 0.1,
      queries: [{ expr: q.value('weir_event_loop_lag_seconds'), legend: '{{instance}} {{quantile}}' }],
    },
    {
      kind: 'lines',
      title: 'Event-loop utilisation',
      description: 'Share of time the loop was busy. Above 0.9 the node is full: add nodes.',
      unit: 'percentunit',
      max: 1,
      warnAbove: 0.9,
      queries: [{ expr: q.value('weir_event_loop_utilization'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'CPU',
      description: 'Cores in use. A node is one thread: near 1 is its end.',
      unit: 'none',
      queries: [{ expr: sum(q.rate('process_cpu_seconds_total'), 'instance'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'Resident memory',
      description: 'Compare with the budget and with connections; growth without either is a leak.',
      unit: 'bytes',
      queries: [
        { expr: q.value('process_resident_memory_bytes'), legend: '{{instance}}' },
        { expr: q.value('weir_memory_budget_bytes'), legend: '{{instance}} budget' },
      ],
    },
    {
      kind: 'lines',
      title: 'Heap and buffers',
      description: 'JavaScript heap, and memory outside of it.',
      unit: 'bytes',
      queries: [
        { expr: q.value('nodejs_heap_size_used_bytes'), legend: '{{instance}} heap' },
        { expr: q.value('nodejs_external_memory_bytes'), legend: '{{instance}} external' },
      ],
    },
    {
      kind: 'lines',
      title: 'Garbage collection',
      description: 'Share of time spent collecting.',
      unit: 'percentunit',
      warnAbove: 0.1,
      queries: [{ expr: sum(q.sumRate('nodejs_gc_duration_seconds'), 'instance'), legend: '{{instance}}' }],
    },
    {
      kind: 'lines',
      title: 'File descriptors',
      description: 'Share of the limit. At 1 no socket can be accepted any more.',
      unit: 'percentunit',
      max: 1,
      warnAbove: 0.8,
      queries: [{ expr: `${q.value('process_open_fds')} / ${q.value('process_max_fds')}`, legend: '{{instance}}' }],
    },
  ],
};
