// Event-loop stall: what one publication to 10 000 subscribers costs a request that arrives meanwhile.
import {
  baseLoad,
  type Measured,
  noteOf,
  PAYLOAD_BYTES,
  round,
  type Row,
  type Scenario,
  serverCpu,
} from '../scenario.ts';

const SUBSCRIBERS = 10_000;
/** Far enough apart that each publication meets an idle server. */
const RATE = 2;
const PROBE_EVERY_US = 200;

/** `weir_event_loop_lag_seconds{quantile="max"} 0.004` as a column in ms. */
const lagColumns = (metrics: string): Row =>
  Object.fromEntries(
    [...metrics.matchAll(/^weir_event_loop_lag_seconds\{[^}]*quantile="([^"]+)"[^}]*\} (\S+)$/gm)].map(
      ([, quantile = '', seconds = '']) => [`loop lag ${quantile} ms`, round(Number(seconds) * 1_000, 2)],
    ),
  );

export const stall: Scenario = {
  name: 'stall',
  title: `Event-loop stall: 1 publication to ${SUBSCRIBERS} subscribers, ${RATE}/s; longest answer to GET /health/live asked every ${PROBE_EVERY_US} us`,
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [{ name: 'longest stall', unit: 'ms', better: 'lower', bar: { value: 10 } }],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const config = {
      ...baseLoad(server, SUBSCRIBERS),
      settleMs: 2_000,
      probe: { path: '/health/live', everyUs: PROBE_EVERY_US },
      publish: {
        path: '/v1/publish' as const,
        headers: server.publishHeaders,
        rate: RATE,
        count: depth === 'quick' ? 4 : 20,
        batch: 1,
        connections: 1,
        payloadBytes: PAYLOAD_BYTES,
      },
    };
    // The lag metric covers the time since the scrape before.
    await server.metrics?.();
    const run = await load(config);
    const lag = lagColumns((await server.metrics?.()) ?? '');
    say(`longest ${run.probe.maxMs.toFixed(1)} ms`);
    return {
      rows: [
        {
          probes: run.probe.count,
          'probe p50 ms': round(run.probe.p50Ms, 2),
          'probe p99 ms': round(run.probe.p99Ms, 2),
          'probe max ms': round(run.probe.maxMs, 1),
          'delivery p99 ms': round(run.latency.p99Ms, 1),
          missing: run.missing,
          'server CPU': round(serverCpu(run), 2),
          'loader CPU': round(run.loaderCpu, 2),
          ...lag,
          note: noteOf(run),
        },
      ],
      figures: run.missing === 0 && run.probe.count > 0 ? { 'longest stall': run.probe.maxMs } : {},
      runs: [run],
    };
  },
};
