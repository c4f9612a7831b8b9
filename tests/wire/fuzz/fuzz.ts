// Rounds of fuzzing by seed: decoders in this process, HTTP and frames against a node that has to give everything back.
import fc from 'fast-check';
import { decoders } from './decoders.ts';
import { fuzzFrames } from './frames.ts';
import { type FuzzedNode, type Held, startFuzzedNode } from './fuzzed-node.ts';
import { fuzzHttp } from './http.ts';

export const TARGETS = ['decoders', 'http', 'frames'] as const;
export type Target = (typeof TARGETS)[number];

export interface FuzzOptions {
  readonly seed: number;
  readonly targets: readonly Target[];
  /** Asked before each round, with the number of rounds done. */
  readonly goesOn: (rounds: number) => boolean;
  /** Inputs per target and round. */
  readonly perRound: number;
  readonly say: (line: string) => void;
}

export interface FuzzReport {
  readonly rounds: number;
  readonly inputs: Readonly<Record<Target, number>>;
  readonly before: Held;
  readonly after: Held;
}

/** Memory that one process may move by itself: garbage not yet collected, code compiled on the way. Bytes. */
const RSS_SLACK_BYTES = 96 * 1024 * 1024;
/** Keep-alive connections of our own questions. */
const DESCRIPTOR_SLACK = 4;

const fuzzDecoders = (seed: number, count: number): number => {
  for (const { name, property } of decoders) {
    const outcome = fc.check(property, { seed, numRuns: count });
    if (outcome.failed) throw new Error(`${name}: ${fc.defaultReportMessage(outcome)}`);
  }
  return decoders.length * count;
};

const runTarget = async (target: Target, node: FuzzedNode, seed: number, count: number): Promise<number> => {
  switch (target) {
    case 'decoders':
      return fuzzDecoders(seed, count);
    case 'http':
      return fuzzHttp(node, seed, count);
    case 'frames':
      return fuzzFrames(node, seed, count);
  }
};

/** Throws, naming target and seed of the round, when something broke, or when the node keeps what it should have given back. */
export const fuzz = async ({ seed, targets, goesOn, perRound, say }: FuzzOptions): Promise<FuzzReport> => {
  await using node = await startFuzzedNode();
  const inputs: Record<Target, number> = { decoders: 0, http: 0, frames: 0 };
  const round = async (roundSeed: number): Promise<Held> => {
    for (const target of targets) {
      try {
        inputs[target] += await runTarget(target, node, roundSeed, perRound);
        await node.isIdle();
      } catch (error) {
        const again = `npm run fuzz -- --targets ${target} --seed ${roundSeed} --rounds 1 --per-round ${perRound}`;
        throw new Error(`${target}, seed ${roundSeed}: ${(error as Error).message}\nagain: ${again}`, { cause: error });
      }
    }
    return node.isIdle();
  };
  // The first round also compiles code and fills pools: what it leaves is the baseline.
  const before = await round(seed);
  let after = before;
  let rounds = 1;
  while (goesOn(rounds)) {
    after = await round(seed + rounds);
    rounds += 1;
    say(`round ${rounds}: ${after.descriptors} descriptors, ${Math.round(after.rssBytes / 1024 / 1024)} MiB`);
  }
  if (after.descriptors > before.descriptors + DESCRIPTOR_SLACK) {
    throw new Error(`descriptors grew from ${before.descriptors} to ${after.descriptors}`);
  }
  if (after.rssBytes > before.rssBytes + RSS_SLACK_BYTES) {
    throw new Error(`memory grew from ${before.rssBytes} to ${after.rssBytes} bytes`);
  }
  return { rounds, inputs, before, after };
};
