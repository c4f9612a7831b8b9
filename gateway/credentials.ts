// API keys and public keys while the node runs: read again when their files change or SIGHUP asks, and taken when they are good.
import type { Config, ConfigResult } from './config.ts';
import { CONFIG_FILE_VARIABLE, secretFileVariable } from './config/environment.ts';
import type { WatchedFiles } from './config/watched-files.ts';
import type { Logger } from './observability/logger.ts';

export interface CredentialsOptions {
  readonly config: Pick<Config, 'jwtPublicKeyFile' | 'credentialsReloadMs'>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly files: Pick<WatchedFiles, 'watch'>;
  /** The whole configuration anew, with every check of a start. */
  readonly load: () => ConfigResult;
  /** Takes what is good. `apiKeys` undefined: those that the node has stay. */
  readonly apply: (renewed: { readonly apiKeys: Config['apiKeys'] | undefined }) => void;
  readonly onOutcome: (outcome: 'applied' | 'refused') => void;
  readonly logger: Pick<Logger, 'info' | 'error'>;
}

export interface Credentials {
  /** Whether anything of the configuration lies in a file, so that there is something to read again. */
  readonly areInFiles: boolean;
  /** Reads now. Never throws: what cannot be used is logged, and what the node has stays. */
  reload(): void;
  close(): void;
}

export const watchCredentials = (options: CredentialsOptions): Credentials => {
  const { config, env, files, load, apply, onOutcome, logger } = options;
  const named = (path: string | undefined): readonly string[] => {
    const trimmed = path?.trim() ?? '';
    return trimmed === '' ? [] : [trimmed];
  };
  const paths = [...named(env[secretFileVariable('apiKeys')]), ...named(config.jwtPublicKeyFile)];

  const refuse = (problems: readonly string[]): void => {
    onOutcome('refused');
    logger.error({ event: 'credentials_refused', problems }, 'credentials were read again and cannot be used');
  };
  const reload = (): void => {
    const result = load();
    if (result.kind !== 'ok') {
      refuse(result.kind === 'invalid' ? result.problems : []);
      return;
    }
    try {
      // A generated key would be another one at each reading.
      const apiKeys = result.generated.apiKey === undefined ? result.config.apiKeys : undefined;
      apply({ apiKeys });
      onOutcome('applied');
      const names = apiKeys?.map(({ name }) => name);
      logger.info({ event: 'credentials_reloaded', apiKeys: names }, 'credentials were read again');
    } catch (error) {
      refuse([(error as Error).message]);
    }
  };
  const isWatched = paths.length > 0 && config.credentialsReloadMs > 0;
  const watching = isWatched ? files.watch(paths, config.credentialsReloadMs, reload) : undefined;
  return {
    areInFiles: paths.length > 0 || named(env[CONFIG_FILE_VARIABLE]).length > 0,
    reload,
    close: () => watching?.close(),
  };
};
