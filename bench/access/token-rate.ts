// How many tokens a core verifies: the library alone, Weir's verifier around it, and the thread pool as the alternative.
import { createSecretKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import jsonwebtoken from 'jsonwebtoken';
import { mintToken } from '../../gateway/access/tokens/mint.ts';
import { readPublicKeys, secretVerificationKey } from '../../gateway/access/tokens/verification-key.ts';
import { createTokenVerifier } from '../../gateway/access/tokens/verifier.ts';
import { systemClock } from '../../gateway/clock.ts';

export type Family = 'HS256' | 'ES256' | 'RS256';
export const FAMILIES: readonly Family[] = ['HS256', 'ES256', 'RS256'];

export const SECRET = 'secret-of-the-bench-0123456789-0123456789';

export interface BenchKeys {
  /** For the node: public keys in PEM form. */
  readonly publicPem: string;
  mint(family: Family, user: string): string;
  readonly keyOf: Readonly<Record<Family, KeyObject>>;
}

export const createBenchKeys = (): BenchKeys => {
  const pairs = {
    ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  };
  const pemOf = (key: KeyObject, type: 'spki' | 'pkcs8'): string => key.export({ type, format: 'pem' }).toString();
  return {
    publicPem: Object.values(pairs)
      .map(({ publicKey }) => pemOf(publicKey, 'spki'))
      .join('\n'),
    keyOf: {
      HS256: createSecretKey(Buffer.from(SECRET)),
      ES256: pairs.ES256.publicKey,
      RS256: pairs.RS256.publicKey,
    },
    mint: (family, user) =>
      mintToken({
        claims: {
          sub: user,
          iat: Math.floor(Date.now() / 1000),
          exp: Math.floor(Date.now() / 1000) + 36_000,
          weir: { subscribe: ['*', 'chat:*', 'user:{user}'], publish: ['chat:*'] },
        },
        key: family === 'HS256' ? { secret: SECRET } : { privatePem: pemOf(pairs[family].privateKey, 'pkcs8') },
      }),
  };
};

const TOKENS = 2_000;
const ROUNDS = 9;

/** The best of several rounds over distinct tokens: what others do on the machine only slows. */
const best = (rates: readonly number[]): number => Math.max(...rates);

/** Tokens per second of CPU, all threads together: time without a core does not count. */
const timed = async (work: () => Promise<unknown> | undefined): Promise<number> => {
  const started = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(started);
  return (TOKENS * 1_000_000) / (user + system);
};

export interface TokenRates {
  readonly family: Family;
  /** `jsonwebtoken.verify` with a ready key. */
  readonly library: number;
  /** Weir's verifier: header, repeated members, claims, rights, budget of the turn. */
  readonly weir: number;
  /** Verified before: by hash. */
  readonly known: number;
  /** The signature alone by `crypto.verify` on the thread pool, 64 at a time; undefined for HS. */
  readonly threadPool: number | undefined;
  /** Longest stall of the event loop while `TOKENS` came in one turn, ms. */
  readonly maxStallMs: number;
}

const onThreadPool = async (tokens: readonly string[], key: KeyObject): Promise<void> => {
  let next = 0;
  const check = (token: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const dot = token.lastIndexOf('.');
      const signature = Buffer.from(token.slice(dot + 1), 'base64url');
      const asymmetric = { key, dsaEncoding: 'ieee-p1363' } as const;
      verify('sha256', Buffer.from(token.slice(0, dot)), asymmetric, signature, (error, holds) => {
        if (error !== null || !holds) reject(error ?? new Error('the signature does not hold'));
        else resolve();
      });
    });
  const worker = async (): Promise<void> => {
    while (next < tokens.length) await check(tokens[next++]!);
  };
  await Promise.all(Array.from({ length: 64 }, worker));
};

export const measureTokens = async (family: Family, keys: BenchKeys): Promise<TokenRates> => {
  const tokens = Array.from({ length: TOKENS }, (_, n) => keys.mint(family, `user-${n}`));
  const read = readPublicKeys(keys.publicPem);
  if (typeof read === 'string') throw new Error(read);
  const verifierWith = (cacheSize: number) =>
    createTokenVerifier({
      keys: [secretVerificationKey(SECRET), ...read],
      expiryRequired: true,
      toleranceMs: 5000,
      cacheSize,
      clock: systemClock,
      onOutcome: (outcome) => {
        if (outcome !== 'valid' && outcome !== 'known') throw new Error(`a token of the bench is ${outcome}`);
      },
    });
  const fresh = verifierWith(0);
  const caching = verifierWith(TOKENS);
  const all = (verifier: typeof fresh) => () => Promise.all(tokens.map(async (token) => verifier.verify(token)));
  const key = keys.keyOf[family];
  const library: number[] = [];
  const weir: number[] = [];
  const known: number[] = [];
  const threadPool: number[] = [];
  await all(caching)();
  const loop = monitorEventLoopDelay({ resolution: 1 });
  // In turns, so that a machine that becomes slower hits both.
  for (let round = 0; round < ROUNDS; round += 1) {
    library.push(
      await timed(() => {
        for (const token of tokens) jsonwebtoken.verify(token, key, { algorithms: [family] });
        return undefined;
      }),
    );
    if (round === ROUNDS - 1) loop.enable();
    weir.push(await timed(all(fresh)));
    loop.disable();
    known.push(await timed(all(caching)));
    if (family !== 'HS256') threadPool.push(await timed(() => onThreadPool(tokens, key)));
  }
  return {
    family,
    library: best(library),
    weir: best(weir),
    known: best(known),
    threadPool: threadPool.length === 0 ? undefined : best(threadPool),
    maxStallMs: loop.max / 1e6,
  };
};
