// `npm run cluster -- --roll` in small: every node is restarted in turn, and clients of the SDK notice nothing.
import { expect, it } from 'vitest';
import { rollUnderLoad } from '../../loadbalancer/cluster/roll.ts';
import { startCluster } from '../support/index.ts';

it('a rolling restart under publishing loses nothing, repeats nothing and breaks no connection', async () => {
  await using cluster = await startCluster({ nodes: 2, env: { WEIR_DRAIN_NOTICE_MS: '1500' } });
  const pids = cluster.nodes.map(({ pid }) => pid);
  const lines: string[] = [];
  const say = (line: string): void => void lines.push(line);
  const result = await rollUnderLoad({ cluster, clients: 8, rate: 50, steadyMs: 1000, say });
  expect(result).toMatchObject({ lost: 0, declared: 0, duplicated: 0, reconnects: 0 });
  expect(result.published).toBeGreaterThan(100);
  expect(lines).toEqual([expect.stringMatching(/^node-1 is back/), expect.stringMatching(/^node-2 is back/)]);
  expect(cluster.nodes.filter(({ pid }) => pids.includes(pid))).toEqual([]);
}, 120_000);
