// Connection rate: connect, upgrade and subscribe, directly to the server.
import type { LoadResult } from '../load-types.ts';
import { baseLoad, type Measured, noteOf, round, type Scenario } from '../scenario.ts';

export const connect: Scenario = {
  name: 'connect',
  title: 'Connection rate: TCP connect + upgrade + connect + subscribe to one channel, until all are subscribed',
  servers: ['raw-uws', 'npm-ws', 'weir-redis'],
  figures: [{ name: 'connections/s', unit: '/s', better: 'higher', bar: { value: 10_000 } }],
  measure: async ({ server, load, depth, say }): Promise<Measured> => {
    const connections = depth === 'quick' ? 2_000 : 10_000;
    const runs: LoadResult[] = [];
    // The first run also warms the server's code up; the best of three is the figure, all are shown.
    for (let round = 0; round < 3; round += 1) {
      const run = await load({ ...baseLoad(server, connections), sampleEvery: 0, settleMs: 0 });
      runs.push(run);
      say(`${run.opened} of ${connections} at ${run.openPerSecond.toFixed(0)}/s`);
    }
    const complete = runs.filter((run) => run.opened === connections && run.closed === 0);
    return {
      rows: runs.map((run) => ({
        connections,
        opened: run.opened,
        'connections/s': round(run.openPerSecond),
        'server CPU': round(run.processes[0]?.openCpu ?? 0, 2),
        'loader CPU': round(run.openLoaderCpu, 2),
        note: noteOf(run),
      })),
      figures: { 'connections/s': Math.max(0, ...complete.map((run) => run.openPerSecond)) },
      runs,
    };
  },
};
