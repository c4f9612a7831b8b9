// What sockets that were told to end still hold, counted for as long as they may be there.
//
// The engine says that a socket is closed as soon as it was told to end, and from then on nobody can reach it. But it stays, with
// all its memory, until the client has read what is buffered and closes its side, or until the engine cuts it: measured, up to
// 16 to 20 s for a client that does neither.

/** How long a socket that was told to end may stay, ms. */
export const LINGER_MS = 20_000;
/** What comes within such a time is let go of together, ms. */
const STEP_MS = 1000;

export interface Lingering {
  /** Of what was added within the last `LINGER_MS`, the sum. */
  readonly sum: number;
  add(amount: number): void;
  close(): void;
}

export const createLingering = (onChanged: (more: number) => void): Lingering => {
  /** Amounts by step, the oldest first; the last one still grows. */
  let steps: number[] = [];
  let sum = 0;
  let timer: NodeJS.Timeout | undefined;

  const change = (more: number): void => {
    if (more === 0) return;
    sum += more;
    onChanged(more);
  };
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
    steps = [];
  };
  const step = (): void => {
    if (steps.push(0) > LINGER_MS / STEP_MS + 1) change(-steps.shift()!);
    if (sum === 0) stop();
  };

  return {
    get sum() {
      return sum;
    },
    add(amount) {
      if (amount === 0) return;
      if (steps.length === 0) steps.push(0);
      steps[steps.length - 1]! += amount;
      timer ??= setInterval(step, STEP_MS).unref();
      change(amount);
    },
    close: stop,
  };
};
