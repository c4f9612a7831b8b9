import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createHostCheck, DEVELOPMENT_HOSTS, isHostPattern } from './host.ts';

describe('a development node', () => {
  const answersFor = createHostCheck(DEVELOPMENT_HOSTS)!;

  it.each([
    '',
    'evil.example',
    'localhost.evil.example',
    'evil-localhost',
    'localhost:80:80',
    'localhost@evil.example',
    'localhost, evil.example',
    'http://localhost',
    '127.0.0.1.evil.example',
    '127.0.0.2',
    '0.0.0.0',
    '[::1',
    '[::11]',
    '*',
    'localhost..',
    'a'.repeat(400),
  ])('does not answer for %j', (host) => {
    expect(answersFor(host)).toBe(false);
  });

  it.each(['localhost', 'LOCALHOST:8080', 'localhost.', 'localhost.:1', '127.0.0.1:8080', '[::1]', '[::1]:8080'])(
    'answers for %s',
    (host) => {
      expect(answersFor(host)).toBe(true);
    },
  );

  it('does not answer for any other name, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.string()), (host) => {
        fc.pre(!/^(localhost|127\.0\.0\.1|\[::1\])\.?(:\d*)?$/i.test(host));
        expect(answersFor(host)).toBe(false);
      }),
    );
  });
});

describe('configured names', () => {
  it('may hold a wildcard for part of a label', () => {
    const answersFor = createHostCheck(['*.dev.example', 'box.'])!;
    expect(['a.dev.example:8080', 'box'].map(answersFor)).toEqual([true, true]);
    expect(['dev.example', 'a.b.dev.example', 'a.dev.example.evil'].map(answersFor)).toEqual([false, false, false]);
  });

  it('none means that it answers nobody, and * that nothing is checked', () => {
    expect(createHostCheck([])!('localhost')).toBe(false);
    expect(createHostCheck(['localhost', '*'])).toBeUndefined();
  });

  it.each(['', 'a b', 'http://a', 'a:80', 'a/b', 'ä'])('cannot be %j', (pattern) => {
    expect(isHostPattern(pattern)).toBe(false);
  });

  it.each(['*', 'a', '[::1]', '*.a.example', '10.0.0.1'])('can be %s', (pattern) => {
    expect(isHostPattern(pattern)).toBe(true);
  });
});
