// The spellings of one key: camelCase in code, WEIR_UPPER_SNAKE in the environment, any nesting of its words in a file.

/** `redisUrl`, `redis_url`, `redis-url` → `['redis', 'url']`. */
export const wordsOf = (name: string): string[] =>
  name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .split(/[_.\s-]+/)
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase());

/** One spelling per key, for comparing. */
export const canonicalName = (segments: readonly string[]): string => segments.flatMap(wordsOf).join('_');

export const ENV_PREFIX = 'WEIR_';
export const envNameOf = (key: string): string => `${ENV_PREFIX}${canonicalName([key]).toUpperCase()}`;

const MAX_COMPARED_LENGTH = 64;

/** Levenshtein distance, one row at a time. */
const distance = (left: string, right: string): number => {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const substitution = row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[right.length]!;
};

/** The candidate a mistyped name most likely meant; undefined when none is near. */
export const nearest = (name: string, candidates: readonly string[]): string | undefined => {
  if (name.length > MAX_COMPARED_LENGTH) return undefined;
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const found = distance(name.toLowerCase(), candidate.toLowerCase());
    if (best === undefined || found < best.distance) best = { candidate, distance: found };
  }
  return best !== undefined && best.distance <= Math.max(2, Math.floor(name.length / 3)) ? best.candidate : undefined;
};
