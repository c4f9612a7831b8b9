// A short run of what `npm run fuzz` does for minutes; the seed is fixed, so that it is the same run every time.
import { expect, it } from 'vitest';
import { fuzz, TARGETS } from './fuzz.ts';

const ROUNDS = 2;
const PER_ROUND = 250;

it('hostile input breaks no decoder, gets no 5xx, and leaves nothing behind in a node', {
  timeout: 120_000,
}, async () => {
  const { rounds, inputs } = await fuzz({
    seed: 6455,
    targets: TARGETS,
    goesOn: (done) => done < ROUNDS,
    perRound: PER_ROUND,
    say: () => undefined,
  });
  expect(rounds).toBe(ROUNDS);
  expect(inputs).toMatchObject({ http: ROUNDS * PER_ROUND, frames: ROUNDS * PER_ROUND });
});
