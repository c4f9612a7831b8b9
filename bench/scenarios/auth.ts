// What authentication and rights cost: connects with tokens, verification beside the library alone, checks beside the work.
import { measureRights, VERBS } from '../access/rights-cost.ts';
import { FAMILIES, measureTokens } from '../access/token-rate.ts';
import type { LoadResult } from '../load-types.ts';
import { baseLoad, type Measured, noteOf, round, type Row, type Scenario } from '../scenario.ts';

const NOUN_OF = { subscribe: 'subscription', publish: 'publication' } as const;

export const auth: Scenario = {
  name: 'auth',
  title:
    'Authentication: connect (TCP, upgrade, connect with a token that is verified each time, one subscription), the library alone beside it, rights checks beside the work',
  servers: ['weir-memory', 'weir-redis'],
  // What a core can do at its limit is the question: the node is not to shed.
  env: { WEIR_OVERLOAD_CPU_PERCENT: '0', WEIR_OVERLOAD_LAG_MS: '0' },
  figures: [
    { name: 'HS256 connects/s', unit: '/s of a core', better: 'higher', bar: { value: 8_000 } },
    { name: 'ES256 connects/s', unit: '/s of a core', better: 'higher', bar: { value: 4_000 } },
    // The other way to the bar: where the library itself allows no such rates, 15 % over it are enough.
    { name: 'HS256 overhead over the library', unit: '%', better: 'lower' },
    { name: 'ES256 overhead over the library', unit: '%', better: 'lower' },
    { name: 'rights check of a subscription', unit: '%', better: 'lower', bar: { value: 3 } },
    { name: 'rights check of a publication', unit: '%', better: 'lower', bar: { value: 3 } },
  ],
  measure: async ({ server, load, depth, pinning, say }): Promise<Measured> => {
    const { tokens: keys } = server;
    if (keys === undefined) throw new Error('this server verifies no tokens');
    const connections = depth === 'quick' ? 2_000 : 10_000;
    const rows: Row[] = [];
    const runs: LoadResult[] = [];
    const figures: Record<string, number> = {};

    for (const family of ['none', ...FAMILIES] as const) {
      const token = family === 'none' ? undefined : keys.mint(family, 'ada');
      const frame = JSON.stringify({ id: 1, type: 'connect', token });
      for (let attempt = 0; attempt < 3; attempt += 1) {
        const run = await load({ ...baseLoad(server, connections), frames: [frame], sampleEvery: 0, settleMs: 0 });
        runs.push(run);
        const complete = run.opened === connections && run.closed === 0;
        const name = `${family} connects/s`;
        // Of one core: what the load generator could not ask for, or others took away, is not counted against the server.
        const cpu = run.processes[0]?.openCpu ?? 0;
        const perCore = cpu > 0 ? run.openPerSecond / cpu : 0;
        if (complete) figures[name] = Math.max(figures[name] ?? 0, perCore);
        say(`${family}: ${run.opened} of ${connections} at ${run.openPerSecond.toFixed(0)}/s`);
        rows.push({
          what: `connect, ${family === 'none' ? 'no token' : family}`,
          '/s': round(run.openPerSecond),
          '/s of a core': round(perCore),
          'server CPU': round(cpu, 2),
          'loader CPU': round(run.openLoaderCpu, 2),
          note: noteOf(run),
        });
      }
    }

    for (const family of FAMILIES) {
      const rates = await measureTokens(family, keys);
      const overhead = (rates.library / rates.weir - 1) * 100;
      figures[`${family} overhead over the library`] = overhead;
      rows.push(
        { what: `verify ${family}, library alone`, '/s of a core': round(rates.library) },
        {
          what: `verify ${family}, Weir`,
          '/s of a core': round(rates.weir),
          note: `${round(overhead, 1)} % over the library; longest stall ${round(rates.maxStallMs, 1)} ms with 2 000 in one turn`,
        },
        { what: `verify ${family}, Weir, known before`, '/s of a core': round(rates.known) },
      );
      if (rates.threadPool !== undefined) {
        rows.push({
          what: `verify ${family}, signature alone on the thread pool`,
          '/s of a core': round(rates.threadPool),
        });
      }
      say(`${family}: library ${rates.library.toFixed(0)}/s, Weir ${rates.weir.toFixed(0)}/s`);
    }

    const { checkNs, commands } = await measureRights(pinning);
    for (const verb of VERBS) {
      const { withoutNs, withNs, added } = commands[verb];
      figures[`rights check of a ${NOUN_OF[verb]}`] = Math.max(0, added * 100);
      const perCore = (ns: number): number => round(1e9 / ns);
      rows.push(
        { what: `${verb}, allowed to everyone by the namespace`, '/s of a core': perCore(withoutNs) },
        {
          what: `${verb}, allowed by a token with 8 patterns`,
          '/s of a core': perCore(withNs),
          note: `${round(withNs)} ns each; the check alone takes ${round(checkNs)} ns, ${round((checkNs / withNs) * 100, 1)} %`,
        },
      );
    }
    return { rows, figures, runs };
  },
};
