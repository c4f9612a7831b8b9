// The steps of a chaos run come from the seed alone.
import { describe, expect, it } from 'vitest';
import { KINDS, planSteps } from './scenario.ts';

const options = { seed: 7, durationMs: 60_000, nodes: 3, clients: 10, kinds: KINDS.standalone };

describe('the steps of a seed', () => {
  it('are the same each time and others for another seed', () => {
    expect(planSteps(options)).toEqual(planSteps(options));
    expect(planSteps(options)).not.toEqual(planSteps({ ...options, seed: 8 }));
  });

  it('begin with the same steps when the run is longer', () => {
    const short = planSteps(options);
    expect(planSteps({ ...options, durationMs: 120_000 }).slice(0, short.length)).toEqual(short);
  });

  it.each(['standalone', 'sentinel'] as const)(
    'hold every kind of %s, in order of time, aimed at what exists',
    (deployment) => {
      const steps = planSteps({ ...options, kinds: KINDS[deployment] });
      expect(new Set(steps.map(({ kind }) => kind))).toEqual(new Set(KINDS[deployment]));
      expect(steps.map(({ atMs }) => atMs)).toEqual(steps.map(({ atMs }) => atMs).toSorted((a, b) => a - b));
      for (const step of steps) {
        expect(step.atMs).toBeLessThan(options.durationMs);
        if ('node' in step) expect([0, 1, 2]).toContain(step.node);
        if ('clients' in step) expect(step.clients.every((client) => client < 10)).toBe(true);
      }
    },
  );

  it('hold only the kinds that were named', () => {
    const steps = planSteps({ ...options, kinds: ['restart-redis-persisted'] });
    expect(new Set(steps.map(({ kind }) => kind))).toEqual(new Set(['restart-redis-persisted']));
  });
});
