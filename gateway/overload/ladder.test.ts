import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLadder, type LadderChange, MAX_LEVEL, type Pressures, RUNGS, type Signal, SIGNALS } from './ladder.ts';

const calm: Pressures = { lag: 0, cpu: 0, memory: 0, buffered: 0, broker: 0 };
const STEP_MS = 200;
const RELEASE_MS = 1000;
const TICK_MS = 100;
/** What each signal alone may reach. */
const HIGHEST: Readonly<Record<Signal, number>> = { lag: 8, cpu: 8, memory: 8, buffered: 6, broker: 8 };

const setUp = () => {
  const ladder = createLadder({ stepMs: STEP_MS, releaseMs: RELEASE_MS });
  let nowMs = 0;
  const changes: LadderChange[] = [];
  const observe = (pressures: Pressures, busy = false): LadderChange | undefined => {
    nowMs += TICK_MS;
    const change = ladder.observe(pressures, nowMs, busy);
    if (change !== undefined) changes.push(change);
    return change;
  };
  return {
    ladder,
    changes,
    observe,
    during(pressures: Pressures, ms: number, busy = false): void {
      for (let passedMs = 0; passedMs < ms; passedMs += TICK_MS) observe(pressures, busy);
    },
  };
};

const pressure = fc.double({ min: 0, max: 3, noNaN: true });
const pressuresOf = fc.record({ lag: pressure, cpu: pressure, memory: pressure, buffered: pressure, broker: pressure });

describe('the overload ladder', () => {
  it('has the published rungs', () => {
    expect(RUNGS).toEqual([
      'thin_ephemeral',
      'coalesce_longer',
      'refuse_anonymous',
      'refuse_fallback',
      'move_idle',
      'refuse_new',
      'refuse_client_publishes',
      'refuse_server_publishes',
    ]);
  });

  it('engages nothing for a short peak', () => {
    const { ladder, during } = setUp();
    for (let peak = 0; peak < 20; peak++) {
      during({ ...calm, lag: 3 }, STEP_MS);
      during(calm, TICK_MS);
    }
    expect(ladder.level).toBe(0);
    expect(ladder.reasons).toEqual([]);
  });

  it.each(SIGNALS)('is raised by %s alone, rung by rung in order, as far as that signal may', (signal) => {
    const { ladder, changes, during } = setUp();
    during({ ...calm, [signal]: 1 }, 60_000);
    expect(ladder.level).toBe(HIGHEST[signal]);
    expect(ladder.reasons).toEqual([signal]);
    expect(changes).toEqual(
      Array.from({ length: HIGHEST[signal] }, (_, index) => ({ kind: 'engaged', rung: index + 1, reasons: [signal] })),
    );
  });

  it('releases in reverse order once all is calm, and no sooner', () => {
    const { ladder, changes, during } = setUp();
    during({ ...calm, lag: 2 }, 10_000);
    changes.length = 0;
    during({ ...calm, lag: 0.9 }, 60_000);
    expect(changes).toEqual([]);
    during({ ...calm, lag: 0.79 }, RELEASE_MS * (MAX_LEVEL + 1));
    expect(changes.map(({ kind, rung }) => `${kind} ${rung}`)).toEqual(
      [8, 7, 6, 5, 4, 3, 2, 1].map((rung) => `released ${rung}`),
    );
    expect(ladder.reasons).toEqual([]);
  });

  it('lets go of what a remaining signal does not hold', () => {
    const { ladder, during } = setUp();
    during({ ...calm, lag: 2, buffered: 2 }, 10_000);
    expect(ladder.level).toBe(8);
    during({ ...calm, buffered: 2 }, 60_000);
    expect(ladder.level).toBe(6);
    expect(ladder.reasons).toEqual(['buffered']);
  });

  it('stays while its highest rung still turns somebody away', () => {
    const { ladder, during } = setUp();
    during({ ...calm, cpu: 1 }, 10_000);
    during(calm, 60_000, true);
    expect(ladder.level).toBe(8);
    during(calm, RELEASE_MS + TICK_MS);
    expect(ladder.level).toBe(7);
  });

  it('comes and goes ever more slowly where its measure is what removes the pressure', () => {
    const { ladder, changes, observe } = setUp();
    // The load is fine as long as rung 3 is engaged.
    for (let tick = 0; tick < 6000; tick++) observe(ladder.level >= 3 ? calm : { ...calm, lag: 1 });
    const engagements = changes.filter(({ kind, rung }) => kind === 'engaged' && rung === 3).length;
    // 10 minutes; without backing off there would be one every 1.2 s.
    expect(engagements).toBeLessThan(50);
    expect(ladder.level).toBeGreaterThanOrEqual(2);
  });

  it('does not oscillate: for a constant input the level moves one way and comes to rest', () => {
    fc.assert(
      fc.property(fc.array(pressuresOf, { maxLength: 60 }), pressuresOf, fc.boolean(), (before, constant, busy) => {
        const { ladder, changes, observe, during } = setUp();
        for (const pressures of before) observe(pressures);
        changes.length = 0;
        during(constant, RELEASE_MS * 16 * (MAX_LEVEL + 1), busy);
        expect(new Set(changes.map(({ kind }) => kind)).size).toBeLessThanOrEqual(1);
        const { level } = ladder;
        changes.length = 0;
        during(constant, 60_000, busy);
        expect(ladder.level).toBe(level);
        expect(changes).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('moves one rung at a time, next to the level, and never faster than its step', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(pressuresOf, fc.boolean()), { maxLength: 300 }), (samples) => {
        const { ladder, observe } = setUp();
        let level = 0;
        let sinceEngaged = Infinity;
        for (const [pressures, busy] of samples) {
          const change = observe(pressures, busy);
          sinceEngaged += TICK_MS;
          if (change?.kind === 'engaged') {
            expect(change.rung).toBe(++level);
            expect(change.reasons.length).toBeGreaterThan(0);
            for (const reason of change.reasons) expect(pressures[reason]).toBeGreaterThanOrEqual(1);
            for (const reason of change.reasons) expect(HIGHEST[reason]).toBeGreaterThanOrEqual(change.rung);
            expect(sinceEngaged).toBeGreaterThanOrEqual(STEP_MS);
            sinceEngaged = 0;
          } else if (change !== undefined) expect(change.rung).toBe(level--);
          expect(ladder.level).toBe(level);
          expect(level).toBeGreaterThanOrEqual(0);
          expect(level).toBeLessThanOrEqual(MAX_LEVEL);
        }
      }),
    );
  });
});
