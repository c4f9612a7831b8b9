// What a token says once its signature holds: who, until when, and what for. Pure.
import { type Static, Type } from '@sinclair/typebox';
import { CHANNEL_PATTERN } from '../../../protocol/channel-name.ts';
import { createValidator, describeProblems } from '../../../protocol/validate.ts';
import type { Grants, Who } from '../rights.ts';
import { readPatterns } from '../token-pattern.ts';

/** The end of the year 9999, Unix seconds: whatever is beyond was not meant. */
const MAX_NUMERIC_DATE = 253_402_300_799;

const numericDate = Type.Number({ minimum: 0, maximum: MAX_NUMERIC_DATE, description: 'Unix time in seconds' });
const patterns = Type.Optional(Type.Array(Type.String({ description: 'a channel, ns:* or *, with {user} for sub' })));
const claimsSchema = Type.Object({
  sub: Type.String({
    pattern: '^[^\\u0000-\\u001f\\u007f]{1,200}$',
    description: 'the user, 1-200 characters without control characters',
  }),
  exp: Type.Optional(numericDate),
  nbf: Type.Optional(numericDate),
  iat: Type.Optional(numericDate),
  jti: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
  weir: Type.Optional(
    Type.Object({
      subscribe: patterns,
      publish: patterns,
      presence: patterns,
      history: patterns,
      channels: Type.Optional(Type.Array(Type.String({ pattern: CHANNEL_PATTERN, description: 'channel name' }))),
      info: Type.Optional(Type.Unknown()),
    }),
  ),
});
export type Claims = Static<typeof claimsSchema>;

const validator = createValidator(claimsSchema);
const listsOfPatterns = ['subscribe', 'publish', 'presence', 'history'] as const;

/** A user as a valid token describes it. Shared by every connection that presents the same token. */
export interface Identity {
  readonly who: Extract<Who, { kind: 'user' }>;
  /** Unix time, ms; Infinity for a token without `exp`. */
  readonly expiresAtMs: number;
  /** Unix time, ms; -Infinity for a token without `nbf`. */
  readonly notBeforeMs: number;
  /** Unix time, ms; undefined for a token without `iat`. */
  readonly issuedAtMs: number | undefined;
  readonly tokenId: string | undefined;
  /** Subscribed by the server on connect. */
  readonly channels: readonly string[];
  /** Shown in presence. */
  readonly info: unknown;
}

export interface ClaimRules {
  readonly expiryRequired: boolean;
}

/** The rights of the token; undefined where it says nothing about them; or which pattern is none. */
const grantsOf = ({ sub, weir }: Claims): Grants | undefined | string => {
  if (weir === undefined) return undefined;
  const grants: { -readonly [K in keyof Grants]: Grants[K] } = {};
  for (const verb of listsOfPatterns) {
    const list = weir[verb];
    if (list === undefined) continue;
    const read = readPatterns(list);
    if (read.kind === 'wrong') return `weir.${verb}[${read.index}]: expected a channel, ns:* or *, with {user} for sub`;
    grants[verb] = read.grantFor(sub);
  }
  const { channels } = weir;
  if (channels !== undefined && channels.length > 0) grants.channels = new Set(channels);
  return grants;
};

/** The identity, or which claim is missing or wrong. Times are not compared with now: see `timeProblem`. */
export const readClaims = (payload: unknown, { expiryRequired }: ClaimRules): Identity | string => {
  const validation = validator.validate(payload);
  if (validation.kind === 'invalid') return describeProblems(validation.problems);
  const { value: claims } = validation;
  const { sub: user, exp, nbf, iat, jti, weir } = claims;
  if (expiryRequired && exp === undefined) return 'exp: expected the end of its validity, got nothing';
  const grants = grantsOf(claims);
  if (typeof grants === 'string') return grants;
  return {
    who: { kind: 'user', user, ...(grants !== undefined && { grants }) },
    expiresAtMs: exp === undefined ? Infinity : exp * 1000,
    notBeforeMs: nbf === undefined ? -Infinity : nbf * 1000,
    issuedAtMs: iat === undefined ? undefined : iat * 1000,
    tokenId: jti,
    channels: [...new Set(weir?.channels)],
    info: weir?.info,
  };
};

/** `toleranceMs` is how far the clocks of issuer and node may differ. */
export const timeProblem = (
  { expiresAtMs, notBeforeMs }: Identity,
  nowMs: number,
  toleranceMs: number,
): 'expired' | 'early' | undefined => {
  if (notBeforeMs > nowMs + toleranceMs) return 'early';
  return expiresAtMs <= nowMs ? 'expired' : undefined;
};
