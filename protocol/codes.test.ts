// Unit tests of the code tables: numbers are unique, ranges decide.
import { describe, expect, it } from 'vitest';
import { namespaceOf } from './channel-name.ts';
import { closeCodes, errorCodes, mayReconnect } from './codes.ts';

describe('error codes', () => {
  it('have unique numbers and names', () => {
    const codes = Object.values(errorCodes);
    expect(new Set(codes.map(({ code }) => code)).size).toBe(codes.length);
    expect(new Set(codes.map(({ name }) => name)).size).toBe(codes.length);
  });

  it('carry their wire name as the key, in camel case', () => {
    for (const [key, { name }] of Object.entries(errorCodes)) {
      expect(name.replaceAll(/_(\w)/g, (_match, letter: string) => letter.toUpperCase())).toBe(key);
    }
  });
});

describe('close codes', () => {
  it('have unique numbers', () => {
    const numbers = Object.values(closeCodes).map(({ code }) => code);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  it.each([3500, 3507, 3999, 4500, 4999])('%i ends the client for good', (code) => {
    expect(mayReconnect(code)).toBe(false);
  });

  it.each([1000, 1001, 1006, 1009, 1012, 1013, 3000, 3008, 3499, 4000, 4499, 5000, 0])(
    '%i lets the client reconnect',
    (code) => {
      expect(mayReconnect(code)).toBe(true);
    },
  );
});

describe('a namespace', () => {
  it.each([
    ['chat:room:1', 'chat'],
    ['lobby', 'default'],
    [':lobby', 'default'],
    ['chat:', 'chat'],
  ])('of %s is %s', (channel, namespace) => {
    expect(namespaceOf(channel)).toBe(namespace);
  });
});
