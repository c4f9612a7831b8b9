// The configuration keys of tokens and revocations; part of `configKeys`.
import { bytes, duration, integer, none, text, value } from './key-spec.ts';
import { isWebUrl } from './urls.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export const tokenKeys = {
  jwtSecret: text('text of 1–4096 characters', () => true, {
    default: none('none; in development one is generated'),
    secret: 'yes',
    description:
      'Secret of tokens signed with HS256, HS384 or HS512; at least as long as the hash: 32, 48 or 64 bytes.',
  }),
  jwtPublicKeyFile: text('a path to public keys in PEM form', () => true, {
    default: none('none'),
    description:
      'Public keys of tokens signed with RS, PS (RSA from 2048 bits) or ES (P-256, P-384, P-521). Several may follow one another in the file while one replaces the other; a changed file is read again (`credentialsReloadMs`).',
  }),
  jwksUrl: text('an http:// or https:// URL', isWebUrl, {
    default: none('none'),
    secret: 'url',
    description:
      'Where the public keys of the token issuer are published (JWK Set); https, unless it is on this machine. Set `jwtAudience` with it, since an issuer may serve other applications too. Redirects are not followed; the last good set is kept while the issuer cannot be reached.',
  }),
  jwksMaxAgeMs: duration(1000, 24 * HOUR_MS, {
    default: value(5 * MINUTE_MS),
    description:
      'Age at which the published keys are asked for anew: so long a key that was withdrawn is still trusted, while the issuer can be reached.',
  }),
  jwksMinIntervalMs: duration(100, HOUR_MS, {
    default: value(5000),
    description:
      'Shortest time between two requests for the published keys; a token with an unknown key waits for the next one.',
  }),
  jwksTimeoutMs: duration(100, MINUTE_MS, {
    default: value(5000),
    description: 'Longest time a request for the published keys may take.',
  }),
  maxJwksBytes: bytes(KiB, 16 * MiB, {
    default: value(256 * KiB),
    description: 'Largest answer with published keys; a larger one counts as failed.',
  }),
  jwtAudience: text('text of 1–4096 characters', () => true, {
    default: none('not checked'),
    description: 'The `aud` a token must carry.',
  }),
  jwtIssuer: text('text of 1–4096 characters', () => true, {
    default: none('not checked'),
    description: 'The `iss` a token must carry.',
  }),
  jwtClockToleranceMs: duration(0, 10 * MINUTE_MS, {
    default: value(5000),
    description: 'How far ahead the clock of the token issuer may be: `nbf` may lie that much in the future.',
  }),
  tokenExpiryGraceMs: duration(0, HOUR_MS, {
    default: value(25_000),
    description:
      'What a connected client is given to `refresh` a token that is over; then it is closed with 3005. Until then messages go on and commands that need rights are error 109.',
  }),
  revocationTtlMs: duration(1000, 366 * 24 * HOUR_MS, {
    default: value(24 * HOUR_MS),
    description:
      'How long a revocation holds that names no time: at least as long as your tokens live. At most 100 000 are kept at once.',
  }),
  maxKnownTokens: integer(0, 10_000_000, {
    default: value(10_000),
    description:
      'Tokens whose signature held that a node remembers by their hash, so that a client that comes back costs no second verification (0: none). About 1 KiB each.',
  }),
} as const;
