// Draws at most once per animation frame, and at most half of the time.

/**
 * Returns the function that asks for a drawing. Many calls before the next frame draw once. After a drawing that took
 * long the next one waits as long again, so that a flood of messages never takes the page from its user.
 */
export const createFrameTask = (draw: () => void): (() => void) => {
  let requested = false;
  let restUntilMs = 0;

  const run = (startedMs: number): void => {
    if (startedMs < restUntilMs) {
      requestAnimationFrame(run);
      return;
    }
    requested = false;
    draw();
    const endedMs = performance.now();
    restUntilMs = endedMs + (endedMs - startedMs);
  };

  return () => {
    if (requested) return;
    requested = true;
    requestAnimationFrame(run);
  };
};
