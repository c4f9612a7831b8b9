// Runs cleaning actions when this process goes away by exit or by a signal, so that it leaves nothing behind.

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const actions = new Set<() => void>();
let armed = false;

function runAll(): void {
  for (const action of actions) {
    try {
      action();
    } catch {
      // The others still have to run, and nobody is left to hear of it.
    }
  }
  actions.clear();
}

function arm(): void {
  armed = true;
  process.on('exit', runAll);
  for (const signal of SIGNALS) {
    const onSignal = (): void => {
      // Somebody else handles the signal (a runner that stops in order): leave the ending to it; `exit` covers the rest.
      if (process.listenerCount(signal) > 1) return;
      runAll();
      process.removeListener(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

/**
 * Runs `action` (synchronous) when this process exits or dies from SIGINT, SIGTERM or SIGHUP, in the order of
 * registration. Call the returned function once it is no longer needed. SIGKILL cannot be caught.
 */
export function whenThisProcessDies(action: () => void): () => void {
  if (!armed) arm();
  actions.add(action);
  return () => {
    actions.delete(action);
  };
}
