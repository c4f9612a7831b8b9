// Short chaos runs with every default kind of step; `npm run chaos` runs longer ones.
import { expect, it } from 'vitest';
import { runChaos } from './chaos.ts';
import type { Deployment } from './scenario.ts';

const DURATION_MS = 10_000;

it.each<{ readonly name: string; readonly deployment: Deployment }>([
  { name: 'nodes, Redis, links and clients break', deployment: 'standalone' },
  { name: 'nodes and clients break and Sentinels promote replicas', deployment: 'sentinel' },
])('nothing is lost in silence while $name', { timeout: 150_000 }, async ({ deployment }) => {
  const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1_000_000));
  const result = await runChaos({
    seed,
    durationMs: DURATION_MS,
    deployment,
    say: (line) => void process.stdout.write(`${line}\n`),
  });
  expect(result.report).toBe('');
  expect(result.acknowledged).toBeGreaterThan(0);
  expect(result.delivered).toBeGreaterThan(result.acknowledged);
});
