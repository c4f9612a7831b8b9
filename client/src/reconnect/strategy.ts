// How long to wait before the next attempt: a value, so that it can be replaced and tested without a connection.

/** `attempt` counts from 1; `random` gives numbers in [0, 1). Returns ms. */
export type ReconnectStrategy = (attempt: number, random: () => number) => number;

export interface FullJitterOptions {
  /** Upper bound of the first delay, ms. */
  baseMs?: number;
  factor?: number;
  /** Upper bound of every delay, ms. */
  capMs?: number;
}

/** Uniform between 0 and min(cap, base * factor^(attempt-1)): from the very first retry on, clients never come in step. */
export const fullJitter =
  ({ baseMs = 1000, factor = 2, capMs = 30_000 }: FullJitterOptions = {}): ReconnectStrategy =>
  (attempt, random) =>
    random() * Math.min(capMs, baseMs * factor ** (attempt - 1));
