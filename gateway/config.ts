// Configuration of a node: arguments, environment and file in; one checked, typed, immutable value or all problems out.
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname as machineName, networkInterfaces, totalmem } from 'node:os';
import { namespaceOf, DEFAULT_NAMESPACE } from '../protocol/channel-name.ts';
import { DEVELOPMENT_SECRET_PREFIX, generatedApiKeyEntry } from './access/api-key-entries.ts';
import type { Interfaces } from './advertised-address.ts';
import type { Config } from './config/checked-config.ts';
import { impossibleCombinations } from './config/combinations.ts';
import { CONFIG_FILE_VARIABLE, environmentValues } from './config/environment.ts';
import { readConfigFile } from './config/file.ts';
import type { RawValue } from './config/flatten.ts';
import { defaultOf, type DefaultContext } from './config/key-spec.ts';
import { configKeys, type ConfigKey, type ConfigValues } from './config/keys.ts';
import { parseNamespaces, type NamespaceConfig } from './config/namespaces.ts';
import { parseValue } from './config/parse.ts';
import { printConfig } from './config/redact.ts';
import { envNameOf } from './config/words.ts';

export type { Config } from './config/checked-config.ts';
export type { NamespaceConfig } from './config/namespaces.ts';

/** Exit code of a start refused for its configuration (EX_CONFIG of sysexits.h). */
export const EXIT_CODE_BAD_CONFIG = 78;

/** What a development node made up for itself, in clear, to be shown once. */
export interface GeneratedSecrets {
  readonly apiKey?: string;
  readonly jwtSecret?: string;
}

export type ConfigResult =
  | { readonly kind: 'ok'; readonly config: Config; readonly generated: GeneratedSecrets }
  /** `--print-config`: YAML without secrets, for stdout. */
  | { readonly kind: 'print'; readonly text: string }
  | { readonly kind: 'check-ok' }
  /** One line each, without secrets, for stderr. Exit code 78. */
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

export interface ConfigSources {
  /** Arguments after the script: `process.argv.slice(2)`. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** UTF-8 text of a file; throws when it cannot be read. */
  readonly readFile?: (path: string) => string;
  readonly hostname?: string;
  /** `length` unpredictable characters of `a-z0-9`. */
  readonly randomId?: (length: number) => string;
  /** What the container or else the machine may use, bytes. */
  readonly memoryLimitBytes?: number;
  /** The addresses of this machine. */
  readonly interfaces?: Interfaces;
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
/** 36^32 > 2^165: enough for an HMAC secret and a bearer key. */
const GENERATED_LENGTH = 32;

const randomCharacters = (length: number): string =>
  Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');

/** The control group's limit where there is one, else the machine's memory. */
const availableMemoryBytes = (): number => Math.min(process.constrainedMemory() || Infinity, totalmem());

const keyNames = Object.keys(configKeys) as ConfigKey[];
const secretKeyNames = keyNames.filter((key) => configKeys[key].secret !== 'no');

interface Resolved {
  readonly config: Config;
  readonly given: ReadonlySet<ConfigKey>;
  readonly problems: readonly string[];
}

const resolve = (sources: Required<ConfigSources>): Resolved => {
  const { env, readFile, hostname, randomId, memoryLimitBytes, interfaces } = sources;
  const environment = environmentValues(env, keyNames, { keys: secretKeyNames, readFile });
  const path = env[CONFIG_FILE_VARIABLE] ?? '';
  const file = path === '' ? undefined : readConfigFile(path, readFile, keyNames);
  const raw = new Map<string, RawValue>([...(file?.values ?? []), ...environment.values]);
  const problems = [...environment.problems, ...(file?.problems ?? [])];
  const given = new Set<ConfigKey>();
  const failed = new Set<ConfigKey>();
  const values: Partial<Record<ConfigKey, unknown>> = {};
  for (const key of keyNames) {
    const written = raw.get(key);
    // A key with nothing behind it counts as not set, as an empty variable does.
    if (written === undefined || written.raw === null) continue;
    const parsed = parseValue(configKeys[key], written.raw);
    if (parsed.kind === 'ok') {
      given.add(key);
      values[key] = parsed.value;
    } else {
      failed.add(key);
      problems.push(...parsed.problems.map((problem) => `${written.place}: ${problem}`));
    }
  }
  const profile = values.profile === 'development' ? 'development' : 'production';
  const context: DefaultContext = { profile, hostname, randomId, memoryLimitBytes };
  for (const key of keyNames) values[key] ??= defaultOf(configKeys[key], context);
  // Every key now holds a value of its schema or its typed default.
  const checked = values as unknown as ConfigValues;
  const place = path === '' ? '' : `${path}: `;
  const { namespaces, problems: wrong } = parseNamespaces(file?.namespaces, {
    defaults: context,
    maxHistorySize: checked.maxHistorySize,
    place,
  });
  problems.push(...wrong);
  const placeOf = (key: ConfigKey): string => raw.get(key)?.place ?? envNameOf(key);
  problems.push(
    ...impossibleCombinations({ config: { ...checked, namespaces }, given, readFile, interfaces }, failed, placeOf),
  );
  return { config: { ...checked, namespaces }, given, problems };
};

const modes = ['--check-config', '--print-config'];

const withGeneratedSecrets = (resolved: Resolved, randomId: (length: number) => string): ConfigResult => {
  const { config, given } = resolved;
  if (config.profile === 'production') return { kind: 'ok', config, generated: {} };
  const make = (): string => `${DEVELOPMENT_SECRET_PREFIX}${randomId(GENERATED_LENGTH)}`;
  const apiKey = given.has('apiKeys') ? undefined : make();
  const verifiable = (['jwtSecret', 'jwtPublicKeyFile', 'jwksUrl'] as const).some((key) => given.has(key));
  const jwtSecret = verifiable ? undefined : make();
  return {
    kind: 'ok',
    config: {
      ...config,
      ...(apiKey !== undefined && { apiKeys: [generatedApiKeyEntry('development', apiKey)] }),
      ...(jwtSecret !== undefined && { jwtSecret }),
    },
    generated: { ...(apiKey !== undefined && { apiKey }), ...(jwtSecret !== undefined && { jwtSecret }) },
  };
};

/** Reads nothing but what is passed in (defaults: the file system and this machine). Never throws. */
export const loadConfig = (sources: ConfigSources): ConfigResult => {
  const complete = {
    readFile: (path: string) => readFileSync(path, 'utf8'),
    hostname: machineName(),
    randomId: randomCharacters,
    memoryLimitBytes: availableMemoryBytes(),
    interfaces: networkInterfaces(),
    ...sources,
  };
  const { argv } = sources;
  const unknown = argv
    .filter((argument) => !modes.includes(argument))
    .map((argument) => `unknown argument ${JSON.stringify(argument)}; known: ${modes.join(', ')}`);
  const resolved = resolve(complete);
  const problems = [...unknown, ...resolved.problems];
  if (problems.length > 0) return { kind: 'invalid', problems };
  if (argv.includes('--print-config')) return { kind: 'print', text: printConfig(resolved.config) };
  if (argv.includes('--check-config')) return { kind: 'check-ok' };
  return withGeneratedSecrets(resolved, complete.randomId);
};

/** What applies to a channel: its namespace's settings, else those of `default`. One map look-up. */
export const namespaceOfChannel = (config: Pick<Config, 'namespaces'>, channel: string): NamespaceConfig =>
  config.namespaces.get(namespaceOf(channel)) ?? config.namespaces.get(DEFAULT_NAMESPACE)!;
