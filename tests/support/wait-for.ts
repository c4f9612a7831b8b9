// Waits until a condition holds; the only way a test may wait.
import { setTimeout as pause } from 'node:timers/promises';

export interface WaitOptions {
  /** Default 10000. */
  readonly timeoutMs?: number;
  /** What is waited for, as the rest of "still waiting for …". A function is asked only when the time is up. */
  readonly description: string | (() => string);
}

const POLL_MS = 5;

/**
 * Resolves with the first value of `condition` that is neither false nor undefined nor null. An exception in
 * `condition` counts as "not yet"; the last one becomes the cause of the error when the time is up.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitOptions,
): Promise<Exclude<T, false | undefined | null>> {
  const { timeoutMs = 10_000, description } = options;
  const deadline = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== undefined && value !== null)
        return value as Exclude<T, false | undefined | null>;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() >= deadline) {
      const text = typeof description === 'string' ? description : description();
      const reason = lastError instanceof Error ? `: ${lastError.message}` : '';
      throw new Error(`still waiting for ${text} after ${timeoutMs} ms${reason}`, { cause: lastError });
    }
    await pause(POLL_MS);
  }
}
