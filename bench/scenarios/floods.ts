// Floods: what clients that keep the rules feel of one address that does not.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startHaproxy } from '../../loadbalancer/cluster/haproxy-process.ts';
import { DEFAULT_PER_SOURCE } from '../../loadbalancer/haproxy-options.ts';
import { clusterOf, percentile } from '../cluster/contest.ts';
import { FLOOD_KINDS, type FloodOrder, type FloodReport } from '../cluster/flooder.ts';
import type { ProbeOrder, ProbeReport } from '../cluster/live-probe.ts';
import { type Measured, round, type Row, type Scenario } from '../scenario.ts';

const PERIOD_MS = 10_000;

const answer = async <Answer>(child: ChildProcess, message: 'report' | 'stop'): Promise<Answer> => {
  child.send(message);
  const [answered] = (await once(child, 'message')) as [Answer];
  return answered;
};

export const floods: Scenario = {
  name: 'floods',
  title:
    'Floods: live latency of 50 subscribers at 50 messages/s while one other address floods the balancer; each flood beside the quiet period before it',
  servers: ['weir-cluster'],
  figures: [{ name: 'worst p99 against quiet', unit: 'x', better: 'lower', bar: { value: 2 } }],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const { depth, pinning, say } = measuring;
    const periodMs = depth === 'quick' ? PERIOD_MS / 5 : PERIOD_MS;
    // A balancer with the limits per address that a deployment has; the one of the cluster knows one address only.
    await using haproxy = await startHaproxy({ config: { perSource: DEFAULT_PER_SOURCE } });
    await haproxy.setNodes(cluster.nodes);
    await pinning.release(haproxy.pid);
    const [probe, flooder] = ['live-probe', 'flooder'].map((name) =>
      fork(join(import.meta.dirname, '..', 'cluster', `${name}.ts`), { execArgv: ['--import', 'tsx'] }),
    ) as [ChildProcess, ChildProcess];
    try {
      // The flooder stays on the core of the load: what it takes from the processors is not what a node is to blame for.
      if (probe.pid !== undefined) await pinning.release(probe.pid);
      const wsUrl = `ws://127.0.0.1:${haproxy.port}/v1/ws`;
      probe.send({ url: haproxy.apiUrl, wsUrl, apiKey: cluster.apiKey } satisfies ProbeOrder);
      await pause(periodMs);
      const rows: Row[] = [];
      const ratios: number[] = [];
      for (const kind of FLOOD_KINDS) {
        await answer<ProbeReport>(probe, 'report');
        await pause(periodMs);
        const quiet = await answer<ProbeReport>(probe, 'report');
        flooder.send({ kind, port: haproxy.port } satisfies FloodOrder);
        await pause(periodMs);
        const flooded = await answer<ProbeReport>(probe, 'report');
        const { sent, refused } = await answer<FloodReport>(flooder, 'stop');
        const [quietP99Ms = 0, floodedP99Ms = Infinity] = [quiet, flooded].map(({ latenciesMs }) =>
          percentile(latenciesMs, 0.99),
        );
        const ratio = floodedP99Ms / quietP99Ms;
        ratios.push(flooded.latenciesMs.length === 0 ? Infinity : ratio);
        say(`${kind}: p99 ${round(quietP99Ms, 1)} → ${round(floodedP99Ms, 1)} ms`);
        rows.push({
          flood: kind,
          'sent/s': round((sent / periodMs) * 1_000),
          'refused/s': round((refused / periodMs) * 1_000),
          'quiet p99 ms': round(quietP99Ms, 1),
          'flooded p99 ms': round(floodedP99Ms, 1),
          ratio: round(ratio, 2),
          'deliveries quiet': quiet.latenciesMs.length,
          'deliveries flooded': flooded.latenciesMs.length,
        });
      }
      return { rows, figures: { 'worst p99 against quiet': Math.max(...ratios) }, runs: [] };
    } finally {
      for (const child of [probe, flooder]) if (child.connected) child.disconnect();
    }
  },
};
