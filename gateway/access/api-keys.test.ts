import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseApiKeyList } from './api-key-entries.ts';
import { createApiKeys } from './api-keys.ts';

const entry = (fields: Readonly<Record<string, unknown>>): Map<string, unknown> => new Map(Object.entries(fields));
const { entries } = parseApiKeyList([
  entry({ name: 'backend', secret: 'backend-secret-0001' }),
  entry({ name: 'ticker', secret: 'ticker-secret-00001', scopes: ['publish'], channels: ['price:*', 'news'] }),
  entry({ name: 'prometheus', secret: 'prometheus-secret-1', scopes: ['metrics'] }),
]);
const keys = createApiKeys(entries);

describe('createApiKeys', () => {
  it.each([
    undefined,
    '',
    'backend',
    'backend-secret-000',
    'backend-secret-00011',
    'Backend-secret-0001',
    'x'.repeat(100_000),
  ])('does not know %j', (presented) => {
    expect(keys.authenticate(presented)).toBeUndefined();
  });

  it('does not accept the stored hash as a key', () => {
    for (const { sha256 } of entries) expect(keys.authenticate(sha256)).toBeUndefined();
  });

  it('knows nobody when it has no entries', () => {
    expect(createApiKeys([]).authenticate('backend-secret-0001')).toBeUndefined();
  });

  it('knows every key by its name, wherever it stands in the list', () => {
    expect(keys.authenticate('backend-secret-0001')?.name).toBe('backend');
    expect(keys.authenticate('ticker-secret-00001')?.name).toBe('ticker');
    expect(keys.authenticate('prometheus-secret-1')?.name).toBe('prometheus');
  });

  it('refuses scopes and channels the key was not given', () => {
    const ticker = keys.authenticate('ticker-secret-00001')!;
    expect(ticker.may('read')).toBe(false);
    expect(ticker.may('read', 'price:1')).toBe(false);
    expect(ticker.may('publish', 'chat:1')).toBe(false);
    expect(ticker.may('publish', 'news2')).toBe(false);
    expect(keys.authenticate('prometheus-secret-1')!.may('publish', 'news')).toBe(false);
  });

  it('grants what the key was given', () => {
    const ticker = keys.authenticate('ticker-secret-00001')!;
    expect(ticker.may('publish')).toBe(true);
    expect(ticker.may('publish', 'price:eu:1')).toBe(true);
    expect(ticker.may('publish', 'news')).toBe(true);
    expect(keys.authenticate('backend-secret-0001')!.may('manage', 'anything')).toBe(true);
    expect(keys.authenticate('prometheus-secret-1')!.may('metrics')).toBe(true);
  });

  it('knows those that take the place of the others, and the others no more', () => {
    const replaced = createApiKeys(entries);
    const before = replaced.authenticate('ticker-secret-00001')!;
    replaced.replace(entries.slice(0, 1));
    expect(replaced.size).toBe(1);
    expect(replaced.authenticate('backend-secret-0001')?.name).toBe('backend');
    expect(replaced.authenticate('ticker-secret-00001')).toBeUndefined();
    // A request under way.
    expect(before.may('publish', 'news')).toBe(true);
    replaced.replace([]);
    expect(replaced.authenticate('backend-secret-0001')).toBeUndefined();
  });

  it('knows no text but the secrets', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (presented) => {
        if (keys.authenticate(presented) !== undefined) throw new Error('it was known');
      }),
    );
  });
});
