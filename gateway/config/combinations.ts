// Combinations of keys that cannot work or must not run in production, one rule each.
import { createPublicKey } from 'node:crypto';
import { weaknessOf } from '../access/api-key-entries.ts';
import type { ConfigKey, ConfigValues } from './keys.ts';

/** Shortest HMAC secret in production: the output of SHA-256 (RFC 7518 §3.2). */
const MIN_HMAC_SECRET_BYTES = 32;

export interface CombinationContext {
  readonly config: ConfigValues;
  /** Keys somebody wrote down, as opposed to defaults. */
  readonly given: ReadonlySet<ConfigKey>;
  readonly readFile: (path: string) => string;
}

interface Rule {
  /** The rule is asked only when all of these have a valid value; the first names the line. */
  readonly keys: readonly [ConfigKey, ...ConfigKey[]];
  /** Problems without the name of the key. */
  readonly check: (context: CombinationContext) => readonly string[];
}

const when = (condition: boolean, problem: string): readonly string[] => (condition ? [problem] : []);

const keyFileProblem = (path: string, readFile: (path: string) => string): string | undefined => {
  try {
    createPublicKey(readFile(path));
    return undefined;
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return `expected a readable public key in PEM form, got "${path}": ${reason}`;
  }
};

const HOOK_URLS = ['hookSubscribeUrl', 'hookPublishUrl', 'hookRpcUrl'] as const;

const rules: readonly Rule[] = [
  ...HOOK_URLS.map(
    (key): Rule => ({
      keys: [key, 'hookSecret'],
      check: ({ config }) =>
        when(
          config[key] !== undefined && config.hookSecret === undefined,
          'is set, but its calls cannot be signed: set hookSecret',
        ),
    }),
  ),
  {
    keys: ['hookSecret', 'profile'],
    check: ({ config: { hookSecret, profile } }) => {
      const weakness = hookSecret === undefined ? undefined : weaknessOf(hookSecret, MIN_HMAC_SECRET_BYTES);
      return profile === 'development' || weakness === undefined ? [] : [weakness];
    },
  },
  {
    keys: ['internalPort', 'port'],
    check: ({ config: { internalPort, port } }) =>
      when(internalPort === port && port !== 0, `is the same as port (${port}); leave it out to serve all on one port`),
  },
  ...(['redisUrl', 'redisPrefix'] as const).map(
    (key): Rule => ({
      keys: [key, 'broker'],
      check: ({ config, given }) =>
        when(given.has(key) && config.broker === 'memory', 'is set, but broker is memory; set broker to redis'),
    }),
  ),
  {
    keys: ['memoryBudgetBytes', 'maxOutboxBytes', 'maxBodyBytes'],
    check: ({ config: { memoryBudgetBytes, maxOutboxBytes, maxBodyBytes } }) => {
      const least = Math.max(maxOutboxBytes, maxBodyBytes);
      return when(memoryBudgetBytes < least, `is smaller than one outbox or body (${least} bytes)`);
    },
  },
  {
    keys: ['maxOutboxBytes', 'maxFrameBytes'],
    check: ({ config: { maxOutboxBytes, maxFrameBytes } }) =>
      when(maxOutboxBytes < maxFrameBytes, `is smaller than one frame of maxFrameBytes (${maxFrameBytes})`),
  },
  {
    keys: ['apiKeys', 'profile'],
    check: ({ config: { apiKeys, profile } }) =>
      profile === 'development'
        ? []
        : apiKeys.flatMap(({ name, weakness }) =>
            weakness === undefined ? [] : `the secret of key ${name} ${weakness}`,
          ),
  },
  {
    keys: ['jwtSecret', 'profile'],
    check: ({ config: { jwtSecret, profile } }) => {
      const weakness = jwtSecret === undefined ? undefined : weaknessOf(jwtSecret, MIN_HMAC_SECRET_BYTES);
      return profile === 'development' || weakness === undefined ? [] : [weakness];
    },
  },
  {
    keys: ['jwtPublicKeyFile'],
    check: ({ config: { jwtPublicKeyFile }, readFile }) =>
      jwtPublicKeyFile === undefined ? [] : [keyFileProblem(jwtPublicKeyFile, readFile) ?? []].flat(),
  },
  ...(['jwtAudience', 'jwtIssuer'] as const).map(
    (key): Rule => ({
      keys: [key, 'jwtSecret', 'jwtPublicKeyFile', 'jwksUrl', 'profile'],
      check: ({ config }) =>
        when(
          config[key] !== undefined &&
            config.profile === 'production' &&
            (config.jwtSecret ?? config.jwtPublicKeyFile ?? config.jwksUrl) === undefined,
          'is set, but no token can be verified: set jwtSecret, jwtPublicKeyFile or jwksUrl',
        ),
    }),
  ),
];

/** `failed` are keys whose value was refused already. Lines start with `placeOf(key)`. */
export const impossibleCombinations = (
  context: CombinationContext,
  failed: ReadonlySet<ConfigKey>,
  placeOf: (key: ConfigKey) => string,
): string[] =>
  rules
    .filter(({ keys }) => !keys.some((key) => failed.has(key)))
    .flatMap(({ keys, check }) => check(context).map((problem) => `${placeOf(keys[0])}: ${problem}`));
