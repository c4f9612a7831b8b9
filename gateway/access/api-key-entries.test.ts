import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { API_KEY_SCOPES, parseApiKeyList, parseApiKeys } from './api-key-entries.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const strong = 'S3cretWith-16-or-more';

describe('parseApiKeys', () => {
  it.each<[text: string, problem: RegExp]>([
    ['just-a-secret', /^entry 1: expected name=secret/],
    ['=secret', /^entry 1: expected name=secret/],
    ['na me=secret', /^entry 1: expected name=secret/],
    ['a=', /^key a: expected a secret of 1–512 visible ASCII/],
    ['a=with space', /^key a: expected a secret of 1–512 visible ASCII/],
    [`a=${'x'.repeat(513)}`, /^key a: expected a secret of 1–512 visible ASCII/],
    ['a=secret:', /^key a: expected scopes out of publish, read, manage, metrics/],
    ['a=secret:publish+fly', /^key a: expected scopes out of/],
    ['a=secret:publish:read', /^key a: expected at most one ":"/],
    ['a=sha256:abc', /^key a: expected sha256 to be 64 hexadecimal digits/],
    ['a=sha256:', /^key a: expected sha256 to be 64/],
    ['a=secretone,a=secrettwo', /^key a: the name is given twice/],
    ['a=secretone,b=secretone', /^key b: has the same secret as key a/],
  ])('refuses %j', (text, problem) => {
    const { problems } = parseApiKeys(text);
    expect(problems).toEqual([expect.stringMatching(problem)]);
  });

  it('never repeats a secret in a problem', () => {
    for (const text of ['HUSHHUSH', 'a=HUSHHUSH:fly', 'a=HUSHHUSH:read:x', 'a=sha256:HUSHHUSH', 'a=HUSH HUSH']) {
      expect(parseApiKeys(text).problems.join()).not.toMatch(/HUSH/);
    }
  });

  it('gives a key without scopes all of them, on every channel', () => {
    expect(parseApiKeys(`backend=${strong}`).entries).toEqual([
      { name: 'backend', sha256: sha256(strong), scopes: API_KEY_SCOPES, channels: ['*'] },
    ]);
  });

  it('reads secrets, hashes and scopes from one list', () => {
    const hash = sha256('unknown to us').toUpperCase();
    const { entries, problems } = parseApiKeys(` a=${strong}:publish+read , b=sha256:${hash}:metrics,`);
    expect(problems).toEqual([]);
    expect(entries).toMatchObject([
      { name: 'a', sha256: sha256(strong), scopes: ['publish', 'read'] },
      { name: 'b', sha256: hash.toLowerCase(), scopes: ['metrics'] },
    ]);
  });

  it('reads one entry from each line as well, as a file has them', () => {
    const { entries, problems } = parseApiKeys(`a=${strong}a:read\r\n\nb=${strong}b,c=${strong}c\n`);
    expect(problems).toEqual([]);
    expect(entries.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect(parseApiKeys(`a=${strong}\n,b=${strong}b:fly`).problems).toEqual([expect.stringMatching(/^key b: /)]);
  });

  it.each<[secret: string, weakness: string]>([
    ['weir-dev-0123456789abcdef0123', 'is a generated development secret'],
    ['changeme', 'is a well-known placeholder'],
    ['short-one', 'is shorter than 16 bytes'],
    [`sha256:${sha256('changeme')}`, 'is a well-known placeholder'],
  ])('marks the secret %s as weak', (secret, weakness) => {
    expect(parseApiKeys(`a=${secret}`).entries).toMatchObject([{ weakness }]);
  });

  it('answers any text', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseApiKeys(text)));
  });
});

describe('parseApiKeyList', () => {
  const record = (fields: Readonly<Record<string, unknown>>): Map<string, unknown> => new Map(Object.entries(fields));

  it.each<[item: unknown, problem: RegExp]>([
    [7, /^entry 1: expected \{name/],
    [record({ secret: strong }), /^entry 1: expected a name/],
    [record({ name: 'a' }), /^key a: expected exactly one of secret and sha256/],
    [record({ name: 'a', secret: 12345 }), /^key a: expected exactly one of secret and sha256, as text/],
    [record({ name: 'a', secret: strong, sha256: sha256('x') }), /^key a: expected exactly one/],
    [record({ name: 'a', secret: strong, scope: ['read'] }), /^key a: has an unknown field; known: name, secret/],
    [record({ name: 'a', secret: strong, scopes: [] }), /^key a: expected scopes to be a non-empty list/],
    [record({ name: 'a', secret: strong, scopes: 'read' }), /^key a: expected scopes to be a non-empty list/],
    [record({ name: 'a', secret: strong, channels: ['a*'] }), /^key a: expected channels to be a non-empty list/],
  ])('refuses entry %#', (item, problem) => {
    expect(parseApiKeyList([item]).problems).toEqual([expect.stringMatching(problem)]);
  });

  it('reads records and texts side by side', () => {
    const { entries, problems } = parseApiKeyList([
      record({ name: 'a', secret: strong, scopes: ['read', 'read'], channels: ['price:*', 'news'] }),
      record({ name: 'b', sha256: sha256('b') }),
      `c=${strong}c:metrics`,
    ]);
    expect(problems).toEqual([]);
    expect(entries).toMatchObject([
      { name: 'a', scopes: ['read'], channels: ['price:*', 'news'] },
      { name: 'b', sha256: sha256('b'), scopes: API_KEY_SCOPES, channels: ['*'] },
      { name: 'c', scopes: ['metrics'] },
    ]);
  });
});
