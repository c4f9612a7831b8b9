// Idle memory: resident memory of the server per idle connection with one subscription; nothing is forced to collect.
import { baseLoad, type Measured, type Measuring, noteOf, round, type Scenario } from '../scenario.ts';
import { startServer } from '../servers.ts';
import type { LoadResult } from '../load-types.ts';

const CONNECTIONS = 10_000;
const HOLD_MS = 3_000;

const perConnection = (run: LoadResult): number => {
  const use = run.processes[0];
  return use === undefined ? 0 : (use.rssOpenBytes - use.rssBeforeBytes) / run.opened;
};

const hold = ({ server, load, depth }: Measuring, channels: number): Promise<LoadResult> => {
  const connections = depth === 'quick' ? CONNECTIONS / 5 : CONNECTIONS;
  return load({ ...baseLoad(server, connections), channels, sampleEvery: 0, settleMs: 0, holdMs: HOLD_MS });
};

export const idleMemory: Scenario = {
  name: 'idle-memory',
  title: `Idle memory: ${CONNECTIONS} connections with one subscription, ${HOLD_MS / 1000} s after the last, against before the first`,
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [
    { name: 'bytes per connection, one channel', unit: 'B', better: 'lower', bar: { value: 4_096 } },
    { name: 'bytes per connection, a channel each', unit: 'B', better: 'lower' },
  ],
  measure: async (measuring): Promise<Measured> => {
    const shared = await hold(measuring, 1);
    measuring.say(`one channel: ${perConnection(shared).toFixed(0)} B per connection`);
    // A fresh process: memory given back by the first run would be taken again unseen.
    await using fresh = await startServer(measuring.server.name, measuring.pinning);
    const own = await hold({ ...measuring, server: fresh }, 0);
    measuring.say(`a channel each: ${perConnection(own).toFixed(0)} B per connection`);
    const row = (variant: string, run: LoadResult) => ({
      variant,
      connections: run.opened,
      'RSS before MB': round((run.processes[0]?.rssBeforeBytes ?? 0) / 1e6, 1),
      'RSS after MB': round((run.processes[0]?.rssOpenBytes ?? 0) / 1e6, 1),
      'bytes per connection': round(perConnection(run)),
      note: noteOf(run),
    });
    return {
      rows: [row('one channel', shared), row('a channel each', own)],
      figures: {
        'bytes per connection, one channel': perConnection(shared),
        'bytes per connection, a channel each': perConnection(own),
      },
      runs: [shared, own],
    };
  },
};
