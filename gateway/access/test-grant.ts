// What a token with a list of patterns grants its user, for tests.
import { readPatterns } from './token-pattern.ts';

/** Throws when one of the list is no pattern. */
export const grantOf = (patterns: readonly string[], user: string): ((channel: string) => boolean) => {
  const read = readPatterns(patterns);
  if (read.kind === 'wrong') throw new Error(`${patterns[read.index]!} is no pattern`);
  return read.grantFor(user);
};
