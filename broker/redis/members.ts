// Which lives of nodes were there of late, dead ones too. A life is one run of a node: one that starts again under its name
// does not know what it knew before.

export interface Members {
  /** A renewal of the own lease succeeded, monotonic ms. */
  tick(nowMs: number): void;
  /** Seen so long ago, by the time that `ages` tells; an older sighting changes nothing. */
  see(life: string, agoMs: number): void;
  /** By life, how long ago it was seen, ms. Time without renewals is not counted. */
  ages(): Readonly<Record<string, number>>;
  /** False while this node is too young to know all that others remember. */
  isComplete(): boolean;
}

/** `rememberMs`: how long a life is remembered; `longestStepMs`: a longer pause between renewals was an outage. */
export const createMembers = (rememberMs: number, longestStepMs: number): Members => {
  const seenAtMs = new Map<string, number>();
  // Runs from the first renewal on and while they succeed: nothing that a dead node knew gets any safer during an outage.
  let usableMs = 0;
  let tickedAtMs = -Infinity;
  return {
    tick(nowMs) {
      const stepMs = nowMs - tickedAtMs;
      tickedAtMs = nowMs;
      if (stepMs <= longestStepMs) usableMs += stepMs;
    },
    see(life, agoMs) {
      seenAtMs.set(life, Math.max(seenAtMs.get(life) ?? -Infinity, usableMs - agoMs));
    },
    ages() {
      for (const [life, atMs] of seenAtMs) if (usableMs - atMs > rememberMs) seenAtMs.delete(life);
      return Object.fromEntries([...seenAtMs].map(([life, atMs]) => [life, usableMs - atMs]));
    },
    isComplete: () => usableMs >= rememberMs,
  };
};
