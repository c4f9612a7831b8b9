import { generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { forgeToken, signToken, TOKEN_SECRET } from '../../../tests/support/tokens.ts';
import type { Clock } from '../../clock.ts';
import { systemClock } from '../../clock.ts';
import { createJwks, type Jwks, type KeyLookup } from './jwks.ts';
import { ALGORITHMS, type Algorithm } from './token-text.ts';
import { readJwks, readPublicKeys, secretVerificationKey, type VerificationKey } from './verification-key.ts';
import { createTokenVerifier, type TokenOutcome, type TokenVerifierOptions } from './verifier.ts';

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}
const curves = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const;
let rsa: Pair;
let anotherRsa: Pair;
const ec: Partial<Record<Algorithm, Pair>> = {};
beforeAll(() => {
  rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  anotherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  for (const [algorithm, namedCurve] of Object.entries(curves)) {
    ec[algorithm as Algorithm] = generateKeyPairSync('ec', { namedCurve });
  }
});
const pairOf = (algorithm: Algorithm): Pair => ec[algorithm] ?? rsa;
const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const keysOf = (...keys: KeyObject[]): readonly VerificationKey[] => {
  const read = readPublicKeys(keys.map(pemOf).join('\n'));
  if (typeof read === 'string') throw new Error(read);
  return read;
};

const verifier = (more: Partial<TokenVerifierOptions> = {}) => {
  const outcomes: string[] = [];
  const made = createTokenVerifier({
    keys: [secretVerificationKey(TOKEN_SECRET)],
    expiryRequired: true,
    toleranceMs: 5000,
    cacheSize: 100,
    clock: systemClock,
    onOutcome: (outcome) => void outcomes.push(outcome),
    ...more,
  });
  return Object.assign(made, { outcomes });
};
const invalid = { kind: 'invalid' } as const;

describe('algorithms', () => {
  it.each(ALGORITHMS)('%s is verified by its key, and by no other', async (algorithm) => {
    const isHmac = algorithm.startsWith('HS');
    const token = signToken({ sub: 'ada' }, { algorithm, key: isHmac ? TOKEN_SECRET : pairOf(algorithm).privateKey });
    const all = [
      secretVerificationKey(TOKEN_SECRET),
      ...keysOf(rsa.publicKey, ...Object.values(ec).map((p) => p.publicKey)),
    ];
    expect(await verifier({ keys: all }).verify(token)).toMatchObject({
      kind: 'valid',
      identity: { who: { kind: 'user', user: 'ada' } },
    });
    const without = all.filter(({ algorithms }) => !algorithms.includes(algorithm));
    expect(await verifier({ keys: without }).verify(token)).toMatchObject(invalid);
    const other = isHmac ? secretVerificationKey('x'.repeat(64)) : keysOf(anotherRsa.publicKey)[0]!;
    expect(await verifier({ keys: [other] }).verify(token)).toMatchObject(invalid);
  });

  it('a public key is no secret: HS256 with the key’s text is refused, in every form of the text', async () => {
    const pem = pemOf(rsa.publicKey);
    const jwk = JSON.stringify(rsa.publicKey.export({ format: 'jwk' }));
    const der = rsa.publicKey.export({ type: 'spki', format: 'der' });
    for (const secret of [pem, pem.trim(), jwk, der]) {
      for (const alg of ['HS256', 'hs256', 'RS256']) {
        const token = forgeToken({ alg }, { sub: 'eve', exp: 9_999_999_999 }, { secret });
        expect(await verifier({ keys: keysOf(rsa.publicKey) }).verify(token)).toMatchObject(invalid);
      }
    }
  });

  it('a key inside of the token is of no account', async () => {
    const jwk = anotherRsa.publicKey.export({ format: 'jwk' });
    const signed = signToken({ sub: 'eve' }, { algorithm: 'RS256', key: anotherRsa.privateKey });
    const [, payload, signature] = signed.split('.');
    for (const extra of [{ jwk }, { jku: 'http://127.0.0.1:1/keys' }, { x5u: 'http://127.0.0.1:1/' }]) {
      const header = Buffer.from(JSON.stringify({ alg: 'RS256', ...extra })).toString('base64url');
      const token = `${header}.${payload!}.${signature!}`;
      expect(await verifier({ keys: keysOf(rsa.publicKey) }).verify(token)).toMatchObject(invalid);
    }
  });

  it.each([
    [31, []],
    [32, ['HS256']],
    [47, ['HS256']],
    [48, ['HS256', 'HS384']],
    [64, ['HS256', 'HS384', 'HS512']],
  ])('a secret of %i bytes serves %j', (length, algorithms) => {
    expect(secretVerificationKey('x'.repeat(length)).algorithms).toEqual(algorithms);
  });
});

describe('public keys of a file', () => {
  it('are all read, so that one can replace the other', async () => {
    const keys = keysOf(rsa.publicKey, anotherRsa.publicKey);
    for (const { privateKey } of [rsa, anotherRsa]) {
      const token = signToken({ sub: 'ada' }, { algorithm: 'PS256', key: privateKey });
      expect(await verifier({ keys }).verify(token)).toMatchObject({ kind: 'valid' });
    }
  });

  it('are refused when there are more than would be tried', () => {
    const key = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const four = [key(), key(), key(), key()].map(pemOf).join('\n');
    expect(readPublicKeys(`${four}${pemOf(rsa.publicKey)}`)).toHaveLength(5);
    expect(readPublicKeys(`${four}${pemOf(key())}`)).toBe('holds more than 4 keys for ES256');
  });

  it('are refused when weak, private, of another kind, or none', () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
    expect(readPublicKeys(pemOf(weak))).toMatch(/at least 2048 bits, got 1024/);
    expect(readPublicKeys(`${pemOf(rsa.publicKey)}${pemOf(weak)}`)).toMatch(/2048/);
    expect(readPublicKeys(rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())).toMatch(/private key/);
    expect(readPublicKeys(pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey))).toMatch(/P-256/);
    expect(readPublicKeys(pemOf(generateKeyPairSync('ed25519').publicKey))).toMatch(/P-256/);
    expect(readPublicKeys('')).toMatch(/no PEM/);
    expect(readPublicKeys('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----')).toEqual(expect.any(String));
  });
});

describe('a JWK Set', () => {
  const jwkOf = (key: KeyObject, more: Readonly<Record<string, unknown>> = {}): JsonWebKey => ({
    ...key.export({ format: 'jwk' }),
    ...more,
  });
  const read = (...keys: unknown[]) => readJwks(JSON.stringify({ keys }));

  it('gives the keys for verifying; whatever else is in it does not spoil them', () => {
    const good = jwkOf(rsa.publicKey, { kid: 'a', use: 'sig' });
    const others = [
      jwkOf(rsa.publicKey, { kid: 'b', use: 'enc' }),
      jwkOf(rsa.publicKey, { kid: 'c', key_ops: ['encrypt'] }),
      jwkOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, { kid: 'weak' }),
      { kty: 'oct', k: Buffer.from(TOKEN_SECRET).toString('base64url'), kid: 'secret', alg: 'HS256' },
      { kty: 'RSA', n: 7, e: [] },
      { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' },
      jwkOf(rsa.publicKey, { alg: 'RSA-OAEP' }),
      null,
      [],
      'x',
    ];
    expect(read(...others, good)?.map(({ id }) => id)).toEqual(['a']);
    expect(read(...others)).toBeUndefined();
  });

  it('a key that names its algorithm serves that one alone', () => {
    expect(read(jwkOf(rsa.publicKey, { alg: 'PS384' }))?.[0]?.algorithms).toEqual(['PS384']);
  });

  it('a private key in it is used for its public part', () => {
    expect(read(jwkOf(rsa.privateKey))?.[0]?.key.type).toBe('public');
  });

  it('is never read from anything else, whatever it is', () => {
    fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), (text) => void readJwks(text)));
  });
});

describe('known tokens', () => {
  it('are not verified twice, but their times are looked at', async () => {
    let aheadMs = 0;
    const clock: Clock = { nowMs: () => Date.now() + aheadMs, monotonicMs: () => performance.now() };
    const tokens = verifier({ clock });
    const token = signToken({ sub: 'ada' }, { expiresInS: 60 });
    await tokens.verify(token);
    await tokens.verify(token);
    aheadMs = 61_000;
    expect(await tokens.verify(token)).toMatchObject({ kind: 'expired' });
    expect(tokens.outcomes).toEqual(['valid', 'known', 'expired']);
  });

  it('are bounded, forgotten when told so, and off when asked', async () => {
    const [one, two] = [signToken({ sub: 'one' }), signToken({ sub: 'two' })];
    const tokens = verifier({ cacheSize: 1 });
    for (const token of [one, two, one, one]) await tokens.verify(token);
    expect(tokens.outcomes).toEqual(['valid', 'valid', 'valid', 'known']);
    tokens.forget();
    await tokens.verify(one);
    expect(tokens.outcomes.at(-1)).toBe('valid');
    const off = verifier({ cacheSize: 0 });
    for (const token of [one, one]) await off.verify(token);
    expect(off.outcomes).toEqual(['valid', 'valid']);
  });

  it('hold nothing that was refused', async () => {
    const tokens = verifier();
    const token = signToken({ sub: 'ada' }, { key: 'x'.repeat(64) });
    for (let n = 0; n < 2; n++) await tokens.verify(token);
    expect(tokens.outcomes).toEqual(['invalid', 'invalid']);
  });
});

describe('claims', () => {
  it('exp is required where it is, and may lack where not', async () => {
    const token = signToken({ sub: 'ada' }, { expiresInS: null });
    expect(await verifier().verify(token)).toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(/^exp/) as string,
    });
    expect(await verifier({ expiryRequired: false }).verify(token)).toMatchObject({
      kind: 'valid',
      identity: { expiresAtMs: Infinity },
    });
  });

  it('aud and iss are checked when configured, and only then', async () => {
    const token = signToken({ sub: 'ada', aud: ['x', 'weir'], iss: 'me' });
    for (const more of [{}, { audience: 'weir' }, { issuer: 'me' }, { audience: 'weir', issuer: 'me' }]) {
      expect(await verifier(more).verify(token)).toMatchObject({ kind: 'valid' });
    }
    for (const more of [{ audience: 'wei' }, { issuer: 'you' }]) {
      expect(await verifier(more).verify(token)).toMatchObject(invalid);
      expect(await verifier(more).verify(signToken({ sub: 'ada' }))).toMatchObject(invalid);
    }
  });

  it('nbf may be ahead by the tolerance', async () => {
    const nbf = Math.floor(Date.now() / 1000) + 3;
    expect(await verifier().verify(signToken({ sub: 'ada', nbf }))).toMatchObject({ kind: 'valid' });
    expect(await verifier({ toleranceMs: 0 }).verify(signToken({ sub: 'ada', nbf }))).toMatchObject(invalid);
  });
});

it('whatever is sent as a token never throws and never gets in', async () => {
  const tokens = verifier();
  const part = fc.oneof(fc.json(), fc.string()).map((text) => Buffer.from(text).toString('base64url'));
  const text = fc.oneof(
    fc.string(),
    fc.tuple(part, part, part).map((parts) => parts.join('.')),
  );
  const header = fc.constantFrom('HS256', 'none', 'RS256', 'ES512', '').map((alg) => ({ alg }));
  const forged = fc
    .tuple(header, fc.oneof(fc.json(), fc.object()))
    .map(([head, payload]) => forgeToken(head, payload, { secret: 'not the secret' }));
  await fc.assert(
    fc.asyncProperty(fc.oneof(text, forged), async (token) => {
      expect((await tokens.verify(token)).kind).toBe('invalid');
    }),
    { numRuns: 2000 },
  );
});

it('whatever a signed payload says is an identity or an invalid token, with rights only for lists of patterns', async () => {
  const tokens = verifier({ cacheSize: 0 });
  const claims = fc.record(
    {
      sub: fc.oneof(fc.string(), fc.jsonValue()),
      exp: fc.oneof(fc.constant(9_999_999_999), fc.jsonValue()),
      weir: fc.oneof(fc.record({ subscribe: fc.oneof(fc.array(fc.string()), fc.jsonValue()) }), fc.jsonValue()),
    },
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(claims, async (payload) => {
      const outcome: TokenOutcome = await tokens.verify(forgeToken({ alg: 'HS256' }, payload));
      if (outcome.kind === 'valid') expect(outcome.identity.who.user).toBe(payload.sub);
    }),
    { numRuns: 2000 },
  );
});

describe('a storm of tokens', () => {
  it('is verified in portions: beyond the budget of a turn they wait, in order', async () => {
    let nowMs = 0;
    // Every look at the clock costs 1 ms, so that a verification takes one.
    const clock: Clock = { nowMs: () => Date.now(), monotonicMs: () => (nowMs += 1) };
    const tokens = verifier({ clock, cacheSize: 0 });
    const order: number[] = [];
    const results = Array.from({ length: 10 }, (_, n) => {
      const outcome = tokens.verify(signToken({ sub: `user-${n}` }));
      if (!(outcome instanceof Promise)) return Promise.resolve(order.push(n));
      return outcome.then(() => order.push(n));
    });
    expect(order).toEqual([0, 1]);
    expect(tokens.waiting).toBe(8);
    await Promise.all(results);
    expect(order).toEqual([...Array(10).keys()]);
  });
});

it('a token whose client left while it waited is not verified', async () => {
  let nowMs = 0;
  const tokens = verifier({ clock: { nowMs: () => Date.now(), monotonicMs: () => (nowMs += 10) }, cacheSize: 0 });
  await Promise.all(
    [true, false, true].map(async (isAwaited, n) => tokens.verify(signToken({ sub: `u${n}` }), () => isAwaited)),
  );
  expect(tokens.outcomes).toEqual(['valid', 'valid']);
});

describe('keys of an issuer', () => {
  const setOf = (...keys: readonly (readonly [string, KeyObject])[]): string =>
    JSON.stringify({ keys: keys.map(([kid, key]) => ({ ...key.export({ format: 'jwk' }), kid })) });
  const tokenOf = (kid: string | undefined, { privateKey }: Pair): string =>
    signToken({ sub: 'ada' }, { algorithm: 'RS256', key: privateKey, ...(kid !== undefined && { keyid: kid }) });

  const issuer = (first: string | Error, options: { maxAgeMs?: number; minIntervalMs?: number } = {}) => {
    let answer = first;
    let fetches = 0;
    let aheadMs = 0;
    const jwks: Jwks = createJwks({
      fetchText: async () => {
        fetches += 1;
        await new Promise(setImmediate);
        if (answer instanceof Error) throw answer;
        return answer;
      },
      clock: { monotonicMs: () => performance.now() + aheadMs },
      maxAgeMs: 60_000,
      minIntervalMs: 20,
      onFetched: () => undefined,
      onChanged: () => tokens.forget(),
      ...options,
    });
    const tokens = verifier({ keys: [], jwks });
    return {
      jwks,
      tokens,
      publish: (next: string | Error) => void (answer = next),
      fetches: () => fetches,
      advance: (ms: number) => void (aheadMs += ms),
    };
  };

  it('are fetched once for all who wait', async () => {
    const { tokens, fetches } = issuer(setOf(['a', rsa.publicKey]));
    const outcomes = await Promise.all(Array.from({ length: 50 }, async () => tokens.verify(tokenOf('a', rsa))));
    expect(outcomes.every(({ kind }) => kind === 'valid')).toBe(true);
    expect(fetches()).toBe(1);
  });

  it('a token with a key that was just published waits for it and is not refused', async () => {
    const { tokens, publish, fetches } = issuer(setOf(['a', rsa.publicKey]));
    expect(await tokens.verify(tokenOf('a', rsa))).toMatchObject({ kind: 'valid' });
    publish(setOf(['a', rsa.publicKey], ['b', anotherRsa.publicKey]));
    expect(await tokens.verify(tokenOf('b', anotherRsa))).toMatchObject({ kind: 'valid' });
    expect(await tokens.verify(tokenOf('a', rsa))).toMatchObject({ kind: 'valid' });
    expect(fetches()).toBe(2);
  });

  it('made-up key ids cause one request per interval, however many there are, and are refused', async () => {
    const { tokens, fetches } = issuer(setOf(['a', rsa.publicKey]), { minIntervalMs: 200 });
    await tokens.verify(tokenOf('a', rsa));
    const outcomes = await Promise.all(
      Array.from({ length: 500 }, async (_, n) => tokens.verify(tokenOf(`x${n}`, anotherRsa))),
    );
    expect(outcomes.every(({ kind }) => kind === 'invalid')).toBe(true);
    expect(fetches()).toBe(2);
  });

  it('those that wait are bounded: beyond, a token may come again', async () => {
    const { jwks } = issuer(setOf(['a', rsa.publicKey]), { minIntervalMs: 1000 });
    const lookups: (KeyLookup | Promise<KeyLookup>)[] = Array.from({ length: 1001 }, () => jwks.keysFor('RS256', 'x'));
    expect(lookups.at(-1)).toBe('unavailable');
    jwks.close();
    await Promise.all(lookups.map(async (lookup) => lookup));
  });

  it('are kept while the issuer cannot be reached; a token with an unknown key may come again then', async () => {
    const { tokens, publish, advance } = issuer(setOf(['a', rsa.publicKey]));
    await tokens.verify(tokenOf('a', rsa));
    for (const failure of [new Error('down'), 'no JSON', '{"keys":[]}', '{}', 'null']) {
      publish(failure);
      advance(120_000);
      expect(await tokens.verify(tokenOf('a', rsa))).toMatchObject({ kind: 'valid' });
      expect(await tokens.verify(tokenOf('b', anotherRsa))).toMatchObject({ kind: 'unavailable' });
    }
  });

  it('that were withdrawn are not trusted any longer than their age, known tokens included', async () => {
    const { tokens, publish, advance, fetches } = issuer(setOf(['a', rsa.publicKey]));
    const token = tokenOf('a', rsa);
    await tokens.verify(token);
    publish(setOf(['b', anotherRsa.publicKey]));
    advance(60_001);
    expect(await tokens.verify(token)).toMatchObject({ kind: 'valid' });
    await vi.waitFor(async () => expect(await tokens.verify(token)).toMatchObject(invalid));
    expect(fetches()).toBeGreaterThan(1);
  });

  it('are asked for without any token as well, so that none meets a key withdrawn in a quiet time', async () => {
    vi.useFakeTimers();
    try {
      let answer: string | Error = setOf(['a', rsa.publicKey]);
      let fetches = 0;
      const jwks = createJwks({
        fetchText: async () => {
          fetches += 1;
          return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
        },
        clock: { monotonicMs: () => Date.now() },
        maxAgeMs: 60_000,
        minIntervalMs: 1000,
        onFetched: () => undefined,
        onChanged: () => tokens.forget(),
      });
      const tokens = verifier({ keys: [], jwks });
      jwks.start();
      await vi.advanceTimersByTimeAsync(1);
      const token = tokenOf('a', rsa);
      expect(await tokens.verify(token)).toMatchObject({ kind: 'valid' });
      answer = new Error('down');
      await vi.advanceTimersByTimeAsync(180_000);
      const whileDown = fetches;
      expect(whileDown).toBeGreaterThan(10);
      expect(whileDown).toBeLessThan(30);
      answer = setOf(['b', anotherRsa.publicKey]);
      await vi.advanceTimersByTimeAsync(6000);
      // No token came meanwhile. This one's key is unknown by now, so it waits for one more answer.
      const late = tokens.verify(token);
      await vi.advanceTimersByTimeAsync(2000);
      expect(await late).toMatchObject(invalid);
      expect(await tokens.verify(tokenOf('b', anotherRsa))).toMatchObject({ kind: 'valid' });
      jwks.close();
      // The turn of the event loop in which the last token was verified ends.
      await vi.advanceTimersByTimeAsync(1);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('without a key id, the keys of the algorithm are tried', async () => {
    const { tokens } = issuer(setOf(['a', rsa.publicKey], ['b', anotherRsa.publicKey]));
    expect(await tokens.verify(tokenOf(undefined, anotherRsa))).toMatchObject({ kind: 'valid' });
  });

  it('never verify HS256, whatever the set holds', async () => {
    const oct = { kty: 'oct', k: Buffer.from(TOKEN_SECRET).toString('base64url'), kid: 'a' };
    const { tokens, fetches } = issuer(JSON.stringify({ keys: [oct, { ...rsa.publicKey.export({ format: 'jwk' }) }] }));
    expect(await tokens.verify(signToken({ sub: 'eve' }, { keyid: 'a' }))).toMatchObject(invalid);
    expect(fetches()).toBe(0);
  });
});
