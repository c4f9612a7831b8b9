// A short chaos run with every default kind of step; `npm run chaos` runs longer ones.
import { expect, it } from 'vitest';
import { runChaos } from './chaos.ts';

const DURATION_MS = 10_000;

it('nothing is lost in silence while nodes, Redis, links and clients break', { timeout: 150_000 }, async () => {
  const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1_000_000));
  const result = await runChaos({
    seed,
    durationMs: DURATION_MS,
    say: (line) => void process.stdout.write(`${line}\n`),
  });
  expect(result.report).toBe('');
  expect(result.acknowledged).toBeGreaterThan(0);
  expect(result.delivered).toBeGreaterThan(result.acknowledged);
});
