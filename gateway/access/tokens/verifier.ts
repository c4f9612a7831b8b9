// From the text of a token to an identity, or to the reason why it is none: the only room that checks signatures.
import type { KeyObject } from 'node:crypto';
import jsonwebtoken, { type VerifyOptions } from 'jsonwebtoken';
import type { Clock } from '../../clock.ts';
import { type Identity, readClaims, timeProblem } from './claims.ts';
import { createIdentityCache } from './identity-cache.ts';
import type { Jwks, KeyLookup } from './jwks.ts';
import { ALGORITHMS, claimsProblem, parseToken, type Algorithm, type TokenHeader } from './token-text.ts';
import { createTurnBudget } from './turn-budget.ts';
import { MAX_TRIED, type VerificationKey } from './verification-key.ts';

/** Messages say what was expected and hold nothing of the token but the claim at fault. */
export type TokenOutcome =
  | { readonly kind: 'valid'; readonly identity: Identity }
  | { readonly kind: 'invalid'; readonly message: string }
  /** Everything holds but its time is over. */
  | { readonly kind: 'expired'; readonly message: string }
  /** The keys of the issuer cannot be had: another time it may be valid. */
  | { readonly kind: 'unavailable'; readonly message: string };

export interface TokenVerifier {
  /**
   * Never throws or rejects. At once unless keys have to be fetched or the turn of the event loop is used up; then it is
   * asked whether anybody still waits for the answer before the signature is checked.
   */
  verify(token: string, isAwaited?: () => boolean): TokenOutcome | Promise<TokenOutcome>;
  /** Tokens known from before are verified anew. */
  forget(): void;
  /** From now on these take the place of the keys of secret and files. */
  replaceKeys(keys: readonly VerificationKey[]): void;
  /** Tokens that wait for their turn. */
  readonly waiting: number;
}

export interface TokenVerifierOptions {
  /** Of secret and files. */
  readonly keys: readonly VerificationKey[];
  readonly jwks?: Pick<Jwks, 'keysFor' | 'renewIfOld'> | undefined;
  readonly audience?: string | undefined;
  readonly issuer?: string | undefined;
  /** Refuse tokens without `exp`. */
  readonly expiryRequired: boolean;
  /** How far the clocks of issuer and node may differ, ms. */
  readonly toleranceMs: number;
  /** Verified tokens kept. */
  readonly cacheSize: number;
  readonly clock: Clock;
  readonly onOutcome: (outcome: TokenOutcome['kind'] | 'known') => void;
}

/** Signatures are checked this long in one turn of the event loop: no longer than a slice of a flush takes. ms */
const TURN_BUDGET_MS = 2;

const NO_KEY = { kind: 'invalid', message: 'no key of this node verifies its signature' } as const;
const ABANDONED = { kind: 'invalid', message: 'nobody waits for the answer' } as const;
const NO_ISSUER = { kind: 'unavailable', message: 'the keys of the token issuer cannot be fetched right now' } as const;

const claimMessages = [
  [/^jwt audience invalid/, 'aud: expected the audience of this node'],
  [/^jwt issuer invalid/, 'iss: expected the issuer this node trusts'],
] as const;

type Opened =
  | { readonly kind: 'signed'; readonly claims: unknown }
  | { readonly kind: 'invalid'; readonly message: string };

interface Presented {
  readonly token: string;
  /** Under which its identity is remembered. */
  readonly cacheKey: string;
  readonly header: TokenHeader;
  readonly isAwaited: () => boolean;
}

/** Looked up for each token: a key never meets one of an algorithm it does not serve. */
const keysByAlgorithm = (keys: readonly VerificationKey[]): Readonly<Record<Algorithm, readonly VerificationKey[]>> =>
  Object.fromEntries(
    ALGORITHMS.map((served) => [served, keys.filter(({ algorithms }) => algorithms.includes(served))]),
  ) as unknown as Readonly<Record<Algorithm, readonly VerificationKey[]>>;

export const createTokenVerifier = (options: TokenVerifierOptions): TokenVerifier => {
  const { jwks, clock, toleranceMs, onOutcome } = options;
  let own = keysByAlgorithm(options.keys);
  const cache = createIdentityCache(options.cacheSize);
  const budget = createTurnBudget({
    budgetMs: TURN_BUDGET_MS,
    nowMs: () => clock.monotonicMs(),
    nextTurn: setImmediate,
  });
  const claimOptions: VerifyOptions = {
    ...(options.audience !== undefined && { audience: options.audience }),
    ...(options.issuer !== undefined && { issuer: options.issuer }),
    // Compared below, since a known token needs it at every use.
    ignoreExpiration: true,
    ignoreNotBefore: true,
  };
  /** The library copies what it is given. */
  const optionsOf = Object.fromEntries(
    ALGORITHMS.map((algorithm) => [algorithm, { ...claimOptions, algorithms: [algorithm] }]),
  ) as Readonly<Record<Algorithm, VerifyOptions>>;

  const judge = (identity: Identity): TokenOutcome => {
    switch (timeProblem(identity, clock.nowMs(), toleranceMs)) {
      case 'early':
        return { kind: 'invalid', message: 'nbf: expected a time that has come' };
      case 'expired':
        return { kind: 'expired', message: 'exp: its time is over' };
      case undefined:
        return { kind: 'valid', identity };
    }
  };

  /** Undefined when another key signed it, or none. */
  const openWith = (token: string, algorithm: Algorithm, key: KeyObject): Opened | undefined => {
    try {
      return { kind: 'signed', claims: jsonwebtoken.verify(token, key, optionsOf[algorithm]) };
    } catch (error) {
      const { message } = error as Error;
      const refused = claimMessages.find(([pattern]) => pattern.test(message))?.[1];
      return refused === undefined ? undefined : { kind: 'invalid', message: refused };
    }
  };

  /** Counts sets of keys: what an earlier one verified is not remembered. */
  let generation = 0;

  const check = (
    { token, cacheKey, header: { algorithm } }: Presented,
    candidates: readonly VerificationKey[],
    foundIn: number,
  ): TokenOutcome => {
    for (let tried = 0; tried < candidates.length && tried < MAX_TRIED; tried += 1) {
      const opened = openWith(token, algorithm, candidates[tried]!.key);
      if (opened === undefined) continue;
      if (opened.kind === 'invalid') return opened;
      const problem = claimsProblem(token, opened.claims);
      if (problem !== undefined) return { kind: 'invalid', message: problem };
      const identity = readClaims(opened.claims, options);
      if (typeof identity === 'string') return { kind: 'invalid', message: identity };
      const outcome = judge(identity);
      if (outcome.kind === 'valid' && foundIn === generation) cache.set(cacheKey, identity);
      return outcome;
    }
    const problem = claimsProblem(token);
    return problem === undefined ? NO_KEY : { kind: 'invalid', message: problem };
  };

  const checkInTurn = (presented: Presented, found: KeyLookup): TokenOutcome | Promise<TokenOutcome> => {
    if (found === 'unavailable') return NO_ISSUER;
    if (found.length === 0) return NO_KEY;
    const foundIn = generation;
    return budget.run(() => (presented.isAwaited() ? check(presented, found, foundIn) : ABANDONED));
  };

  const verifyPresented = (presented: Presented): TokenOutcome | Promise<TokenOutcome> => {
    const { algorithm, keyId } = presented.header;
    const candidates = own[algorithm];
    // A published set holds public keys alone: it has no say about secrets.
    if (jwks === undefined || algorithm.startsWith('HS')) return checkInTurn(presented, candidates);
    const fromIssuer = (): TokenOutcome | Promise<TokenOutcome> => {
      const found = jwks.keysFor(algorithm, keyId);
      return found instanceof Promise
        ? found.then((keysFound) => checkInTurn(presented, keysFound))
        : checkInTurn(presented, found);
    };
    if (candidates.length === 0) return fromIssuer();
    const outcome = checkInTurn(presented, candidates);
    if (!(outcome instanceof Promise)) return outcome === NO_KEY ? fromIssuer() : outcome;
    return outcome.then((settled) => (settled === NO_KEY ? fromIssuer() : settled));
  };

  const counted = (outcome: TokenOutcome): TokenOutcome => {
    if (outcome !== ABANDONED) onOutcome(outcome.kind);
    return outcome;
  };

  const forget = (): void => {
    generation += 1;
    cache.clear();
  };

  return {
    verify(token, isAwaited = () => true) {
      const cacheKey = cache.keyOf(token);
      const known = cache.get(cacheKey);
      if (known !== undefined) {
        // The key that verified it may have been withdrawn.
        jwks?.renewIfOld();
        const outcome = judge(known);
        onOutcome(outcome.kind === 'valid' ? 'known' : outcome.kind);
        return outcome;
      }
      const parsed = parseToken(token);
      if (parsed.kind === 'malformed') return counted({ kind: 'invalid', message: parsed.message });
      const outcome = verifyPresented({ token, cacheKey, header: parsed.header, isAwaited });
      return outcome instanceof Promise ? outcome.then(counted) : counted(outcome);
    },
    forget,
    replaceKeys(renewed) {
      own = keysByAlgorithm(renewed);
      forget();
    },
    get waiting() {
      return budget.waiting;
    },
  };
};
