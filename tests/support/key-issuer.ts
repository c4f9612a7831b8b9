// An issuer of tokens as applications run one: it publishes its public keys as a JWK Set, rotates them, and signs.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { signToken, type TestTokenOptions } from './tokens.ts';

export interface KeyIssuer extends AsyncDisposable {
  readonly url: string;
  /** Answers given so far. */
  readonly requests: number;
  /** From the next answer on these keys, by their numbers from 0, are what the issuer publishes. */
  publish(...keys: readonly number[]): void;
  /** A token of the user, signed with the key of that number, published or not. */
  sign(key: number, user: string, options?: Pick<TestTokenOptions, 'keyid'>): string;
  /** Stops answering. */
  close(): Promise<void>;
}

/** Publishes key 0 of `count` keys on P-256. */
export const startKeyIssuer = async (count: number): Promise<KeyIssuer> => {
  const pairs = Array.from({ length: count }, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  let published: readonly number[] = [0];
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    const keys = published.map((n) => ({ ...pairs[n]!.publicKey.export({ format: 'jwk' }), kid: `k${n}` }));
    response.end(JSON.stringify({ keys }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return {
    url: `http://127.0.0.1:${port}/jwks`,
    get requests() {
      return requests;
    },
    publish: (...keys) => void (published = keys),
    sign: (key, user, options) =>
      signToken({ sub: user }, { algorithm: 'ES256', key: pairs[key]!.privateKey, keyid: `k${key}`, ...options }),
    close,
    [Symbol.asyncDispose]: close,
  };
};
