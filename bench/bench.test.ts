// The load generator against a real control server, and its own Go tests.
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../loadbalancer/cluster/free-port.ts';
import { buildLoader, createLoader, type Loader } from './loader.ts';
import { baseLoad, isComplete } from './scenario.ts';
import { buildControls, startControl } from './servers.ts';

const nothing = (): Promise<void> => Promise.resolve();
const unpinned = {
  serverPrefix: [],
  anyCorePrefix: [],
  release: nothing,
  mainToServer: nothing,
  description: 'unpinned',
};
const COUNT = 200;
let load: Loader;

// The load generator is Go, which only the benchmark needs: a machine without it still passes `npm test`.
const hasGo = spawnSync('go', ['version']).status === 0;

describe.runIf(hasGo)('the load generator', () => {
  beforeAll(async () => {
    load = createLoader(await buildLoader());
    await buildControls();
  }, 120_000);

  test('frame walker, counting, percentiles and schedule pass their own tests', { timeout: 120_000 }, async () => {
    const { stdout } = await promisify(execFile)('go', ['test', './...'], { cwd: join(import.meta.dirname, 'load') });
    expect(stdout).toMatch(/^ok/);
  });

  test('a port where nobody listens is a failed opening, not a hang', async () => {
    const server = { name: 'raw-uws' as const, port: await freePort(), pid: process.pid, publishHeaders: [] };
    const result = await load({
      ...baseLoad({ ...server, [Symbol.asyncDispose]: () => Promise.resolve() }, 3),
      settleMs: 0,
    });
    expect(result).toMatchObject({ opened: 0, failed: 3 });
    expect(result.note).not.toBe('');
  });

  test.each(['raw-uws', 'npm-ws'] as const)('%s delivers every single publication in order', async (name) => {
    await using server = await startControl(name, unpinned);
    const result = await load({
      ...baseLoad(server, 20),
      sampleEvery: 5,
      settleMs: 0,
      publish: {
        path: '/v1/publish',
        headers: [],
        rate: 400,
        count: COUNT,
        batch: 1,
        connections: 8,
        payloadBytes: 128,
      },
    });
    expect(result.note).toBe('');
    expect(isComplete(result, COUNT)).toBe(true);
    expect(result.received).toBe(20 * COUNT);
    expect(result.latency.count).toBe(4 * COUNT);
    expect(result.latency.maxMs).toBeGreaterThan(0);
  });

  test.each(['raw-uws', 'npm-ws'] as const)(
    '%s delivers batches over many channels and answers positions',
    async (name) => {
      await using server = await startControl(name, unpinned);
      const result = await load({
        ...baseLoad(server, 50),
        channels: 50,
        perConnection: 10,
        settleMs: 0,
        publish: {
          path: '/v1/batch',
          headers: [],
          rate: 1_000,
          count: COUNT,
          batch: 50,
          connections: 4,
          payloadBytes: 128,
        },
        probe: { path: '/health/live', everyUs: 1_000 },
      });
      expect(result.note).toBe('');
      expect(isComplete(result, COUNT)).toBe(true);
      expect(result.positionsOk).toBe(true);
      expect(result.requests).toBe(COUNT / 50);
      expect(result.received).toBe(10 * COUNT);
      expect(result.probe.count).toBeGreaterThan(0);
      expect(result.probe.p50Ms).toBeGreaterThan(0);
      expect(result.probeOwn.count).toBe(result.probe.count);
      expect(result.probeOwn.maxMs).toBeLessThanOrEqual(result.probe.maxMs);
    },
  );
});
