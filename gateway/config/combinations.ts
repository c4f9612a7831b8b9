// Combinations of keys that cannot work or must not run in production, one rule each.
import { advertisedAddress, type Interfaces } from '../advertised-address.ts';
import { weaknessOf } from '../access/api-key-entries.ts';
import { coversAnySite } from '../access/origin.ts';
import { MIN_SECRET_BYTES, readPublicKeys } from '../access/tokens/verification-key.ts';
import type { Config } from './checked-config.ts';
import type { ConfigKey } from './keys.ts';
import type { NamespaceConfig } from './namespaces.ts';
import { tlsFileProblem } from './tls-files.ts';

export interface CombinationContext {
  readonly config: Config;
  /** Keys somebody wrote down, as opposed to defaults. */
  readonly given: ReadonlySet<ConfigKey>;
  readonly readFile: (path: string) => string;
  readonly interfaces: Interfaces;
}

interface Rule {
  /** The rule is asked only when all of these have a valid value; the first names the line. */
  readonly keys: readonly [ConfigKey, ...ConfigKey[]];
  /** Problems without the name of the key. */
  readonly check: (context: CombinationContext) => readonly string[];
}

const when = (condition: boolean, problem: string): readonly string[] => (condition ? [problem] : []);

/** Whether somebody without token may publish: everyone, or every subscriber where everyone may subscribe. */
const mayPublishAnonymously = ({ publish, subscribe }: NamespaceConfig): boolean =>
  publish === 'everyone' || (publish === 'subscribers' && subscribe === 'everyone');

const keyFileProblem = (path: string, readFile: (path: string) => string): string | undefined => {
  try {
    const keys = readPublicKeys(readFile(path));
    return typeof keys === 'string' ? `"${path}": ${keys}` : undefined;
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return `expected a readable file with public keys in PEM form, got "${path}": ${reason}`;
  }
};

const HOOK_URLS = ['hookConnectUrl', 'hookSubscribeUrl', 'hookPublishUrl', 'hookRpcUrl', 'hookEventsUrl'] as const;

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
      const weakness = hookSecret === undefined ? undefined : weaknessOf(hookSecret, MIN_SECRET_BYTES);
      return profile === 'development' || weakness === undefined ? [] : [weakness];
    },
  },
  {
    keys: ['internalPort', 'port'],
    check: ({ config: { internalPort, port } }) =>
      when(internalPort === port && port !== 0, `is the same as port (${port}); leave it out to serve all on one port`),
  },
  {
    keys: ['agentCheckPort', 'port', 'internalPort'],
    check: ({ config: { agentCheckPort, port, internalPort } }) =>
      when(
        agentCheckPort !== undefined && agentCheckPort !== 0 && [port, internalPort].includes(agentCheckPort),
        `is the same as another port of the node (${agentCheckPort ?? ''})`,
      ),
  },
  {
    keys: ['advertiseAddress', 'host'],
    check: ({ config: { advertiseAddress, host }, interfaces }) =>
      when(
        advertisedAddress(advertiseAddress, host, interfaces) === undefined,
        `no address of this machine lies in ${advertiseAddress ?? ''}`,
      ),
  },
  ...(['redisUrl', 'redisPrefix'] as const).map(
    (key): Rule => ({
      keys: [key, 'broker'],
      check: ({ config, given }) =>
        when(given.has(key) && config.broker === 'memory', 'is set, but broker is memory; set broker to redis'),
    }),
  ),
  {
    keys: ['redisMinReplicas', 'broker'],
    check: ({ config: { redisMinReplicas, broker } }) =>
      when(redisMinReplicas > 0 && broker === 'memory', 'is set, but broker is memory; set broker to redis'),
  },
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
    keys: ['apiKeys', 'profile', 'allowWeakSecrets'],
    check: ({ config: { apiKeys, profile, allowWeakSecrets } }) =>
      profile === 'development' || allowWeakSecrets
        ? []
        : apiKeys.flatMap(({ name, weakness }) =>
            weakness === undefined ? [] : `the secret of key ${name} ${weakness}`,
          ),
  },
  {
    keys: ['jwtSecret'],
    // Whoever has the public key could sign with its text (algorithm confusion, by configuration).
    check: ({ config: { jwtSecret } }) =>
      when(
        jwtSecret?.includes('-----BEGIN ') === true,
        'is a key in PEM form, which is no secret; name its file in jwtPublicKeyFile',
      ),
  },
  {
    keys: ['jwtSecret', 'profile', 'allowWeakSecrets'],
    check: ({ config: { jwtSecret, profile, allowWeakSecrets } }) => {
      if (jwtSecret === undefined) return [];
      const weakness = weaknessOf(jwtSecret, MIN_SECRET_BYTES);
      // A shorter one verifies nothing, in no profile.
      const isUseless = Buffer.byteLength(jwtSecret) < MIN_SECRET_BYTES;
      const isAllowed = !isUseless && (profile === 'development' || allowWeakSecrets);
      return weakness === undefined || isAllowed ? [] : [weakness];
    },
  },
  {
    keys: ['anonymous', 'profile', 'allowAnonymousPublish'],
    check: ({ config: { anonymous, profile, allowAnonymousPublish, namespaces } }) => {
      if (profile === 'development' || !anonymous || allowAnonymousPublish) return [];
      return [...namespaces.values()]
        .filter(mayPublishAnonymously)
        .map(
          ({ name }) =>
            `lets clients without token publish in namespace ${name}; if that is meant, set allowAnonymousPublish`,
        );
    },
  },
  {
    keys: ['allowedOrigins', 'profile', 'allowAnyOrigin'],
    check: ({ config: { allowedOrigins, profile, allowAnyOrigin } }) =>
      profile === 'development' || allowAnyOrigin
        ? []
        : allowedOrigins
            .filter(coversAnySite)
            .map((pattern) => `"${pattern}" lets the pages of any site connect; if that is meant, set allowAnyOrigin`),
  },
  {
    keys: ['tlsCertFile', 'tlsKeyFile', 'tlsKeyPassphrase'],
    check: ({ config: { tlsCertFile, tlsKeyFile, tlsKeyPassphrase }, readFile }) => {
      if (tlsCertFile === undefined && tlsKeyFile === undefined) {
        return when(tlsKeyPassphrase !== undefined, 'is not set, but tlsKeyPassphrase is');
      }
      if (tlsCertFile === undefined) return ['is not set, but tlsKeyFile is'];
      if (tlsKeyFile === undefined) return ['is set, but tlsKeyFile is not'];
      return [tlsFileProblem({ tlsCertFile, tlsKeyFile, tlsKeyPassphrase }, readFile) ?? []].flat();
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
