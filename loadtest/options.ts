// The command line of `npm run loadtest`.
import { parseArgs } from 'node:util';
import { defaultSettings, type LoadSettings } from './settings.ts';

export const scenarioNames = ['connect-storm', 'fan-out'] as const;
export type ScenarioName = (typeof scenarioNames)[number];

/** A cluster started for the run, or one that is there already. */
export type LoadTarget =
  | { readonly kind: 'local'; readonly nodes: number }
  | { readonly kind: 'given'; readonly wsUrl: string; readonly apiUrl: string; readonly apiKey: string };

export type LoadOptions =
  | { readonly kind: 'help' }
  | {
      readonly kind: 'run';
      readonly scenarios: readonly ScenarioName[];
      readonly target: LoadTarget;
      readonly settings: LoadSettings;
    };

/** The command line cannot be used; the message names the option. */
export class LoadOptionsError extends Error {
  override readonly name = 'LoadOptionsError';
}

/** Options with a number: the setting they fill, least value and meaning. */
const numbers = {
  vus: { key: 'vus', least: 1, help: 'virtual users of k6' },
  'sockets-per-vu': { key: 'socketsPerVu', least: 1, help: 'sockets each of them holds' },
  channels: { key: 'channels', least: 1, help: 'channels the sockets are spread over' },
  rate: { key: 'publicationsPerSecond', least: 1, help: 'fan-out: publications per second, all channels together' },
  'payload-bytes': { key: 'payloadBytes', least: 1, help: 'fan-out: size of the data of a publication' },
  'warm-up-ms': { key: 'warmUpMs', least: 0, help: 'fan-out: time to connect before the first publication' },
  'duration-ms': { key: 'durationMs', least: 1000, help: 'fan-out: how long publications are offered' },
  'hold-ms': { key: 'holdMs', least: 0, help: 'connect-storm: how long every socket stays' },
  rounds: { key: 'rounds', least: 1, help: 'connect-storm: how often the herd comes' },
  'max-delivery-p99-ms': { key: 'maxDeliveryP99Ms', least: 1, help: 'threshold' },
  'max-connect-p95-ms': { key: 'maxConnectP95Ms', least: 1, help: 'threshold' },
} as const satisfies Record<string, { key: keyof LoadSettings; least: number; help: string }>;

type NumberKey = (typeof numbers)[keyof typeof numbers]['key'];

const defaultNodes = 3;
const apiKeyVariable = 'WEIR_LOADTEST_API_KEY';
const tokenVariable = 'WEIR_LOADTEST_TOKEN';

export function helpText(): string {
  const rows = [
    ['scenario', `${scenarioNames.join(', ')} or all (all)`],
    ['nodes', `nodes of the local cluster (${defaultNodes})`],
    [
      'ws-url, --api-url',
      `load a running cluster instead; its API key in ${apiKeyVariable}, a client token in ${tokenVariable}`,
    ],
    ...Object.entries(numbers).map(([name, { key, help }]) => [name, `${help} (${defaultSettings[key]})`]),
  ];
  return ['npm run loadtest [-- options]', ...rows.map(([name, help]) => `  --${name!.padEnd(20)} ${help!}`)].join(
    '\n',
  );
}

function integer(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least) {
    throw new LoadOptionsError(`--${name}: an integer of at least ${least} expected, got "${text}"`);
  }
  return value;
}

/** Throws LoadOptionsError. `runId` marks the channels and files of this run. */
export function parseLoadOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  runId: string,
): LoadOptions {
  const texts = ['scenario', 'nodes', 'ws-url', 'api-url', ...Object.keys(numbers)];
  let given: Record<string, string | boolean | undefined>;
  try {
    const options = Object.fromEntries(texts.map((name) => [name, { type: 'string' as const }]));
    given = parseArgs({ args: [...args], options: { ...options, help: { type: 'boolean' } } }).values;
  } catch (error) {
    throw new LoadOptionsError((error as Error).message);
  }
  if (given['help'] === true) return { kind: 'help' };
  const text = (name: string): string | undefined => given[name] as string | undefined;

  const changed: Partial<Record<NumberKey, number>> = {};
  for (const [name, { key, least }] of Object.entries(numbers)) {
    const value = text(name);
    if (value !== undefined) changed[key] = integer(name, value, least);
  }
  const target = parseTarget(text, environment);
  const settings = {
    ...defaultSettings,
    ...changed,
    runId,
    token: environment[tokenVariable] ?? '',
    exclusive: target.kind === 'local',
  };
  return { kind: 'run', scenarios: parseScenarios(text('scenario') ?? 'all'), target, settings };
}

function parseScenarios(name: string): readonly ScenarioName[] {
  if (name === 'all') return scenarioNames;
  const found = scenarioNames.find((each) => each === name);
  if (found === undefined)
    throw new LoadOptionsError(`--scenario: ${scenarioNames.join(', ')} or all expected, got "${name}"`);
  return [found];
}

function parseTarget(
  text: (name: string) => string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): LoadTarget {
  const wsUrl = text('ws-url');
  const apiUrl = text('api-url');
  const nodes = text('nodes');
  if (wsUrl === undefined && apiUrl === undefined) {
    return { kind: 'local', nodes: integer('nodes', nodes ?? String(defaultNodes), 1) };
  }
  if (wsUrl === undefined || apiUrl === undefined) throw new LoadOptionsError('--ws-url and --api-url belong together');
  if (nodes !== undefined) throw new LoadOptionsError('--nodes is for the local cluster; leave it out with --ws-url');
  const apiKey = environment[apiKeyVariable];
  if (apiKey === undefined || apiKey === '')
    throw new LoadOptionsError(`${apiKeyVariable} must hold an API key of the cluster`);
  return { kind: 'given', wsUrl, apiUrl, apiKey };
}
