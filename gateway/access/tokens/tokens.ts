// The tokens of a node: keys from its configuration, the verifier over them, metrics and log beside.
import { readFileSync } from 'node:fs';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../observability/logger.ts';
import type { MetricsRegistry } from '../../observability/registry.ts';
import { createFetchText } from './fetch-text.ts';
import { createJwks, type Jwks } from './jwks.ts';
import { createTokenVerifier, type TokenVerifier } from './verifier.ts';
import { readPublicKeys, secretVerificationKey, type VerificationKey } from './verification-key.ts';

/** What the configuration says about tokens. */
export interface TokenSettings {
  readonly profile: 'development' | 'production';
  readonly jwtSecret: string | undefined;
  readonly jwtPublicKeyFile: string | undefined;
  readonly jwksUrl: string | undefined;
  readonly jwtAudience: string | undefined;
  readonly jwtIssuer: string | undefined;
  readonly jwtClockToleranceMs: number;
  readonly jwksMaxAgeMs: number;
  readonly jwksMinIntervalMs: number;
  readonly jwksTimeoutMs: number;
  readonly maxJwksBytes: number;
  readonly maxKnownTokens: number;
}

export interface Tokens extends Pick<TokenVerifier, 'verify'> {
  /** Reads the file of public keys again. Throws when it cannot be used: those known before stay. */
  reloadKeys(): void;
  close(): void;
}

export interface TokensOptions {
  readonly config: TokenSettings;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
}

const ownKeys = ({ jwtSecret, jwtPublicKeyFile }: TokenSettings): VerificationKey[] => {
  const keys: VerificationKey[] = [];
  if (jwtSecret !== undefined) keys.push(secretVerificationKey(jwtSecret));
  if (jwtPublicKeyFile === undefined) return keys;
  const read = readPublicKeys(readFileSync(jwtPublicKeyFile, 'utf8'));
  // The configuration was checked with the same file: it changed in between.
  if (typeof read === 'string') throw new Error(`jwtPublicKeyFile: ${jwtPublicKeyFile} ${read}`);
  return [...keys, ...read];
};

export const openTokens = ({ config, clock, metrics, logger }: TokensOptions): Tokens => {
  const openJwks = (url: string): Jwks =>
    createJwks({
      fetchText: createFetchText({ url, timeoutMs: config.jwksTimeoutMs, maxBytes: config.maxJwksBytes }),
      clock,
      maxAgeMs: config.jwksMaxAgeMs,
      minIntervalMs: config.jwksMinIntervalMs,
      onFetched(outcome, error) {
        metrics.count('weir_token_key_fetches_total', { outcome });
        if (error !== undefined) logger.warn({ event: 'token_keys_failed', err: error }, 'token keys were not fetched');
      },
      onChanged() {
        verifier.forget();
        logger.info({ event: 'token_keys_changed', keys: jwks?.size }, 'the token issuer has other keys');
      },
    });
  const jwks = config.jwksUrl === undefined ? undefined : openJwks(config.jwksUrl);
  const verifier = createTokenVerifier({
    keys: ownKeys(config),
    jwks,
    audience: config.jwtAudience,
    issuer: config.jwtIssuer,
    expiryRequired: config.profile === 'production',
    toleranceMs: config.jwtClockToleranceMs,
    cacheSize: config.maxKnownTokens,
    clock,
    onOutcome: (outcome) => metrics.count('weir_tokens_total', { outcome }),
  });
  if (config.profile === 'production' && jwks !== undefined && config.jwtAudience === undefined) {
    const message = 'jwtAudience is not set: tokens that the issuer made for other applications are taken as well';
    logger.warn({ event: 'token_audience_unchecked' }, message);
  }
  metrics.gauge('weir_tokens_waiting', () => verifier.waiting);
  metrics.gauge('weir_token_keys', () => jwks?.size ?? 0);
  jwks?.start();
  return {
    verify: (token, isAwaited) => verifier.verify(token, isAwaited),
    reloadKeys() {
      if (config.jwtPublicKeyFile !== undefined) verifier.replaceKeys(ownKeys(config));
    },
    close: () => jwks?.close(),
  };
};
