// Event-loop stall: what publications to 10 000 subscribers cost a request that arrives meanwhile, and what the same ones to a
// single subscriber do, where there is no fan-out: what is as long there is the machine's or other work of the server.
import type { LoadResult } from '../load-types.ts';
import {
  baseLoad,
  type Measured,
  noteOf,
  round,
  type Row,
  publications,
  type Scenario,
  serverCpu,
} from '../scenario.ts';

const SUBSCRIBERS = 10_000;
/** Publications per second: each meets an idle server, and more than leave one by one, so that a flush follows the other. */
const RATES = [2, 200] as const;
const SECONDS = 8;
const PROBE_EVERY_US = 200;

/** `weir_event_loop_lag_seconds{quantile="max"} 0.004` as a column in ms. */
const lagColumns = (metrics: string): Row =>
  Object.fromEntries(
    [...metrics.matchAll(/^weir_event_loop_lag_seconds\{[^}]*quantile="([^"]+)"[^}]*\} (\S+)$/gm)].map(
      ([, quantile = '', seconds = '']) => [`loop lag ${quantile} ms`, round(Number(seconds) * 1_000, 2)],
    ),
  );

const stallAt = (rate: number): string => `longest stall at ${rate}/s`;
/** A server that has just been started is still being compiled, on the core that it has; shown beside, as is what no fan-out has a part in. */
const PASSES = [
  { name: 'just started', subscribers: SUBSCRIBERS },
  { name: 'warm', subscribers: SUBSCRIBERS },
  { name: 'one subscriber', subscribers: 1 },
] as const;
type Pass = (typeof PASSES)[number];

const figureOf = ({ name }: Pass, rate: number): string =>
  name === 'warm' ? stallAt(rate) : `${stallAt(rate)}, ${name}`;
/** What is judged (docs/adr/0027): while others have its core, it is not the server that holds the loop. */
const withCore = (rate: number): string => `${stallAt(rate)}, with a core`;

export const stall: Scenario = {
  name: 'stall',
  title: `Event-loop stall: ${SUBSCRIBERS} subscribers, ${RATES.join(' and ')} publications/s; longest answer to GET /health/live asked every ${PROBE_EVERY_US} us`,
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [
    ...RATES.map((rate) => ({ name: withCore(rate), unit: 'ms', better: 'lower', bar: { value: 10 } }) as const),
    ...PASSES.flatMap((pass) =>
      RATES.map((rate) => ({ name: figureOf(pass, rate), unit: 'ms', better: 'lower' }) as const),
    ),
  ],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const rows: Row[] = [];
    const runs: LoadResult[] = [];
    const figures: Record<string, number> = {};
    for (const [pass, rate] of PASSES.flatMap((pass) => RATES.map((rate) => [pass, rate] as const))) {
      // The lag metric covers the time since the scrape before.
      await server.metrics?.();
      const run = await load({
        ...baseLoad(server, pass.subscribers),
        settleMs: 2_000,
        probe: { path: '/health/live', everyUs: PROBE_EVERY_US },
        publish: { ...publications(server, rate, rate * (depth === 'quick' ? 2 : SECONDS)), connections: 16 },
      });
      const lag = lagColumns((await server.metrics?.()) ?? '');
      say(
        `${rate}/s, ${pass.name}: longest ${run.probe.maxMs.toFixed(1)} ms, ${run.probeOwn.maxMs.toFixed(1)} with a core`,
      );
      runs.push(run);
      rows.push({
        server: pass.name,
        'msg/s': rate,
        probes: run.probe.count,
        'probe p50 ms': round(run.probe.p50Ms, 2),
        'probe p99 ms': round(run.probe.p99Ms, 2),
        'probe max ms': round(run.probe.maxMs, 1),
        'max with a core ms': round(run.probeOwn.maxMs, 1),
        'delivery p99 ms': round(run.latency.p99Ms, 1),
        missing: run.missing,
        'server CPU': round(serverCpu(run), 2),
        'loader CPU': round(run.loaderCpu, 2),
        ...lag,
        note: noteOf(run),
      });
      if (run.missing > 0 || run.probe.count === 0) continue;
      figures[figureOf(pass, rate)] = run.probe.maxMs;
      if (pass.name === 'warm') figures[withCore(rate)] = run.probeOwn.maxMs;
    }
    return { rows, figures, runs };
  },
};
