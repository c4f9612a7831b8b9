// The command line of the bench.
import { parseArgs } from 'node:util';
import type { Depth } from './scenario.ts';
import { SERVER_NAMES, type ServerName } from './servers.ts';

export interface BenchArguments {
  /** Names of scenarios, in the order to run. */
  readonly scenarios: readonly string[];
  /** Undefined: what each scenario compares by default. */
  readonly servers: readonly ServerName[] | undefined;
  /** Measure Weir through HAProxy as well, beside the direct way. */
  readonly throughHaproxy: boolean;
  readonly depth: Depth;
  /** Arguments of Node itself for single nodes of Weir, after those they have. */
  readonly nodeArgs: readonly string[];
  readonly jsonPath: string | undefined;
}

export type ParsedArguments =
  | { readonly kind: 'run'; readonly values: BenchArguments }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'error'; readonly message: string };

/** What one address and the paths of publications are enough for. */
export const PROXIED_SCENARIOS: readonly string[] = ['fanout', 'audience', 'many-channels'];

export const usage = (scenarios: readonly string[]): string => `Usage: npm run bench -- [options]
Measures Weir beside raw uWebSockets.js and npm ws in one run; prints tables and writes JSON.

  --scenario <a,b>  ${scenarios.join(', ')} (all)
  --server <a,b>    ${SERVER_NAMES.join(', ')} (what each scenario compares)
  --through haproxy Weir through HAProxy as well, beside the direct way: fanout, audience, many-channels (all unless named)
  --quick           fewer and shorter steps: to see that it works, not to quote
  --node-args <a b> arguments of Node for single nodes of Weir, after those they have, as "--allocation-site-pretenuring"
  --json <file>     where the JSON goes (bench/results/<time>.json)
  --help            this text`;

/** A comma list of known names, or the first unknown one. */
const pick = <Name extends string>(text: string, known: readonly Name[]): readonly Name[] | { unknown: string } => {
  const names = text.split(',').map((name) => name.trim());
  const found = names.map((name) => known.find((candidate) => candidate === name));
  const unknown = names.find((_, index) => found[index] === undefined);
  return unknown === undefined ? found.filter((name) => name !== undefined) : { unknown };
};

export const parseBenchArguments = (argv: readonly string[], scenarios: readonly string[]): ParsedArguments => {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        scenario: { type: 'string' },
        server: { type: 'string' },
        through: { type: 'string' },
        quick: { type: 'boolean' },
        'node-args': { type: 'string' },
        json: { type: 'string' },
        help: { type: 'boolean' },
      },
    });
    if (values.help === true) return { kind: 'help', text: usage(scenarios) };
    if (values.through !== undefined && values.through !== 'haproxy') {
      return { kind: 'error', message: `--through: haproxy expected, got "${values.through}"` };
    }
    const throughHaproxy = values.through === 'haproxy';
    const preset = throughHaproxy ? scenarios.filter((name) => PROXIED_SCENARIOS.includes(name)) : scenarios;
    const chosen = values.scenario === undefined ? preset : pick(values.scenario, scenarios);
    if ('unknown' in chosen) {
      return { kind: 'error', message: `--scenario: one of ${scenarios.join(', ')} expected, got "${chosen.unknown}"` };
    }
    const notProxied = throughHaproxy ? chosen.filter((name) => !PROXIED_SCENARIOS.includes(name)) : [];
    if (notProxied.length > 0) {
      const message = `--through: ${PROXIED_SCENARIOS.join(', ')} run through HAProxy, ${notProxied.join(', ')} not`;
      return { kind: 'error', message };
    }
    const servers = values.server === undefined ? undefined : pick(values.server, SERVER_NAMES);
    if (servers !== undefined && 'unknown' in servers) {
      return {
        kind: 'error',
        message: `--server: one of ${SERVER_NAMES.join(', ')} expected, got "${servers.unknown}"`,
      };
    }
    const depth = values.quick === true ? 'quick' : 'full';
    const nodeArgs = values['node-args']?.split(' ').filter((arg) => arg !== '') ?? [];
    const chosenValues = {
      scenarios: chosen,
      servers,
      throughHaproxy,
      depth,
      nodeArgs,
      jsonPath: values.json,
    } as const;
    return { kind: 'run', values: chosenValues };
  } catch (error) {
    // parseArgs throws TypeErrors that name the option.
    if (error instanceof TypeError) return { kind: 'error', message: error.message.split('\n')[0] ?? '' };
    throw error;
  }
};
