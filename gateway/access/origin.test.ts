import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createOriginCheck, DEVELOPMENT_ORIGINS, isOriginPattern } from './origin.ts';

describe('createOriginCheck', () => {
  it.each<[pattern: string, origin: string]>([
    ['https://example.com', 'http://example.com'],
    ['https://example.com', 'https://example.com:8443'],
    ['https://example.com', 'https://example.com.evil.org'],
    ['https://example.com', 'https://evil-example.com'],
    ['https://example.com', 'https://examplexcom'],
    ['https://example.com', 'https://example.com.'],
    ['https://example.com', 'https://example.com:'],
    ['https://example.com', 'https://example.com:0443'],
    ['https://example.com', 'https://user@example.com'],
    ['https://example.com', 'https://example.com https://evil.org'],
    ['https://example.com', 'https://example.com, https://evil.org'],
    ['https://example.com', 'https://éxample.com'],
    ['https://*.example.com', 'https://app.example.com.'],
    ['https://*.example.com', 'https://app..example.com'],
    ['example.com', 'NULL'],
    ['https://example.com', 'https://example.com/'],
    ['https://example.com', 'https://example.com@evil.org'],
    ['https://example.com', 'null'],
    ['https://example.com', 'example.com'],
    ['https://example.com', ' https://example.com'],
    ['https://example.com', 'https://example.com\nhttps://evil.org'],
    ['https://*.example.com', 'https://example.com'],
    ['https://*.example.com', 'https://a.b.example.com'],
    ['https://*.example.com', 'https://.example.com'],
    ['https://*.example.com', 'https://*.example.com'],
    ['https://app-*.example.com', 'https://app.example.com'],
    ['https://app-*.example.com', 'https://app-1.x.example.com'],
    ['https://*', 'https://example.com'],
    ['example.com', 'ftp://example.com'],
    ['example.com', 'https://example.com:8443'],
    ['example.com:8080', 'https://example.com'],
    ['localhost:*', 'http://localhost.evil.org'],
    ['localhost:*', 'http://localhost:80:80'],
    ['[::1]:*', 'http://[::11]'],
  ])('refuses, by the pattern %s, the origin %s', (pattern, origin) => {
    expect(createOriginCheck([pattern])(origin)).toBe('refused');
  });

  it('refuses every browser when no pattern is given', () => {
    expect(createOriginCheck([])('https://example.com')).toBe('refused');
  });

  it.each([undefined, ''])('allows a request without Origin (%j), which no browser sends', (origin) => {
    expect(createOriginCheck([])(origin)).toBe('allowed');
  });

  it.each<[pattern: string, origin: string]>([
    ['https://example.com', 'https://example.com'],
    ['https://example.com', 'https://example.com:443'],
    ['https://example.com:443', 'https://example.com'],
    ['HTTPS://Example.COM', 'https://eXample.com'],
    ['http://example.com:8080', 'http://example.com:8080'],
    ['https://*.example.com', 'https://app.example.com'],
    ['https://app-*.example.com', 'https://app-42.example.com'],
    ['https://a*c.*.example.com', 'https://abc.x.example.com'],
    ['example.com', 'http://example.com'],
    ['example.com', 'https://example.com'],
    ['example.com:*', 'https://example.com:8443'],
    ['*', 'https://anything.example.org:99'],
    ['*', 'null'],
    ['capacitor://localhost', 'capacitor://localhost'],
    ['chrome-extension://abcdef', 'chrome-extension://abcdef'],
  ])('allows, by the pattern %s, the origin %s', (pattern, origin) => {
    expect(createOriginCheck(['https://other.org', pattern])(origin)).toBe('allowed');
  });

  it.each(['http://localhost', 'http://localhost:5173', 'https://127.0.0.1:8443', 'http://[::1]:3000'])(
    'allows %s in development',
    (origin) => {
      expect(createOriginCheck(DEVELOPMENT_ORIGINS)(origin)).toBe('allowed');
    },
  );

  it('refuses, whatever the name is, hosts outside the domain of a pattern', () => {
    const check = createOriginCheck(['https://*.example.com', 'https://example.com']);
    fc.assert(
      fc.property(fc.domain(), (domain) => {
        fc.pre(!/(^|\.)example\.com$/.test(domain));
        expect(check(`https://${domain}`)).toBe('refused');
        expect(check(`https://example.com.${domain}`)).toBe('refused');
      }),
    );
  });

  it('lets one wildcard stand for exactly one label', () => {
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
    const check = createOriginCheck(['https://*.example.com']);
    fc.assert(
      fc.property(fc.array(label, { maxLength: 4 }), (labels) => {
        const origin = `https://${[...labels, 'example', 'com'].join('.')}`;
        expect(check(origin)).toBe(labels.length === 1 ? 'allowed' : 'refused');
      }),
    );
  });

  it('agrees with a regular expression on every label', () => {
    const letters = fc.array(fc.constantFrom('a', 'b', '*'), { minLength: 1, maxLength: 6 });
    const name = fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(letters, name, (pattern, label) => {
        const expression = new RegExp(`^${pattern.join('').replace(/\*+/g, '[ab]*')}$`);
        const decision = createOriginCheck([`https://${pattern.join('')}.example.com`])(
          `https://${label.join('')}.example.com`,
        );
        expect(decision).toBe(expression.test(label.join('')) ? 'allowed' : 'refused');
      }),
    );
  });

  it('answers any text, and a hostile one without backtracking', () => {
    const check = createOriginCheck(['https://*a*a*a*a*a*a*b.example.com']);
    fc.assert(fc.property(fc.string(), (origin) => void check(origin)));
    const started = process.cpuUsage();
    expect(check(`https://${'a'.repeat(100_000)}.example.com`)).toBe('refused');
    expect(check(`https://${'a'.repeat(250)}.example.com`)).toBe('refused');
    // Backtracking over these took 143 s.
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
  });
});

describe('isOriginPattern', () => {
  it.each([
    '',
    'https://',
    'https://example.com/path',
    'https://exa mple.com',
    'example.com:port',
    'a'.repeat(400),
    '://x',
  ])('refuses %j', (pattern) => {
    expect(isOriginPattern(pattern)).toBe(false);
  });

  it.each(['*', 'example.com', 'https://*.example.com:8443', 'localhost:*', '[::1]:*'])('accepts %s', (pattern) => {
    expect(isOriginPattern(pattern)).toBe(true);
  });
});
