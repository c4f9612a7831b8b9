// A rate as operators write it: `200/10s` is 200 at once, refilled evenly over 10 s.

/** A bucket of `count` that fills up again in `perMs`: the burst is `count`, the sustained rate `count / perMs`. */
export interface Rate {
  readonly count: number;
  readonly perMs: number;
}

const SECOND_MS = 1000;
const unitsMs: Readonly<Record<string, number>> = { s: SECOND_MS, m: 60 * SECOND_MS, h: 3600 * SECOND_MS };

/** `countOf` reads what stands before the slash. Undefined when the text is no rate over whole seconds. */
export const parseRate = (text: string, countOf: (text: string) => unknown): Rate | undefined => {
  const [, countText = '', amount = '1', unit = ''] = /^([^/]{1,40})\/\s*(\d{1,5})?\s*([smh])$/.exec(text.trim()) ?? [];
  const count = countOf(countText.trim());
  const unitMs = unitsMs[unit];
  if (typeof count !== 'number' || unitMs === undefined) return undefined;
  return { count, perMs: Number(amount) * unitMs };
};

/** The same text for the same rate; `parseRate` reads it back. */
export const formatRate = ({ count, perMs }: Rate): string => `${count}/${perMs / SECOND_MS}s`;
