import { describe, expect, it } from 'vitest';
import { readClaims } from '../../access/tokens/claims.ts';
import type { TokenOutcome } from '../../access/tokens/verifier.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';
import { handleRefresh } from './refresh.ts';

const NOW_MS = 1_000_000;

const valid = (user: string, expiresAtMs: number): TokenOutcome => {
  const identity = readClaims({ sub: user, exp: expiresAtMs / 1000 }, { expiryRequired: true });
  if (typeof identity === 'string') throw new Error(identity);
  return { kind: 'valid', identity };
};

const setUp = () => {
  const present = valid('ada', NOW_MS + 1_000);
  const connection = {
    identity: present.kind === 'valid' ? present.identity : null,
    subscriptions: new Map(),
    isOpen: () => true,
  } as unknown as Connection;
  const verifications = new Map<string, TokenOutcome | Promise<TokenOutcome>>();
  const services = {
    tokens: { verify: (token: string) => verifications.get(token) },
    expiry: { schedule: () => undefined },
    clock: { nowMs: () => NOW_MS },
    revocations: { isRevoked: () => false },
  } as unknown as SessionServices;
  const refresh = async (token: string) => handleRefresh(connection, { id: 1, type: 'refresh', token }, services);
  return { connection, verifications, refresh };
};

describe('refreshes of one connection', () => {
  it('take effect in the order in which they were asked for, whichever token is verified first', async () => {
    const { connection, verifications, refresh } = setUp();
    let settle: (outcome: TokenOutcome) => void = () => undefined;
    verifications.set('older', new Promise((resolve) => (settle = resolve)));
    verifications.set('newer', valid('ada', NOW_MS + 60_000));
    const older = refresh('older');
    expect(await refresh('newer')).toEqual({ type: 'refreshed', expiresInMs: 60_000 });
    settle(valid('ada', NOW_MS + 5_000));
    expect(await older).toEqual({ type: 'refreshed', expiresInMs: 60_000 });
    expect(connection.identity?.expiresAtMs).toBe(NOW_MS + 60_000);
  });

  it('do not wait for one that was refused', async () => {
    const { connection, verifications, refresh } = setUp();
    verifications.set('good', valid('ada', NOW_MS + 5_000));
    verifications.set('bad', { kind: 'invalid', message: 'no' });
    await refresh('good');
    await expect(refresh('bad')).rejects.toMatchObject({ error: 'unauthorized' });
    expect(connection.identity?.expiresAtMs).toBe(NOW_MS + 5_000);
  });
});
