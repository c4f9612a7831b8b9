// What people type is refused with a message that names the fault.
import { describe, expect, it } from 'vitest';
import { checkChannel, checkJson, checkKey } from './input.ts';

const complaint = (checked: ReturnType<typeof checkChannel> | ReturnType<typeof checkJson>): string =>
  checked.kind === 'invalid' ? checked.message : 'no complaint';

describe('checkChannel', () => {
  it.each([
    ['', /Enter a channel name/],
    ['   ', /Enter a channel name/],
    ['two words', /^A space cannot be/],
    ['news#1', /^“#” cannot be/],
    ['wasser🌊', /^“🌊” cannot be/],
    ['a'.repeat(201), /at most 200 characters; this one has 201/],
  ])('refuses %j', (text, message) => {
    expect(complaint(checkChannel(text))).toMatch(message);
  });

  it('accepts the whole grammar and trims space around the name', () => {
    expect(checkChannel(' chat:room_1-2=@,.;/x\n')).toEqual({ kind: 'valid', value: 'chat:room_1-2=@,.;/x' });
  });
});

describe('checkJson', () => {
  it('asks for a value when there is none', () => {
    expect(complaint(checkJson(' \n'))).toMatch(/Enter a JSON value/);
  });

  it('says what the parser says', () => {
    expect(complaint(checkJson('{"a": }'))).toMatch(/^Not valid JSON: .+/);
    expect(complaint(checkJson('{"a": }'))).not.toMatch(/double quotes/);
  });

  it('tells that bare text needs quotes', () => {
    expect(complaint(checkJson('hello'))).toMatch(/needs double quotes/);
  });

  it.each(['null', '0', '"x"', '[]', '{"a":[1]}'])('accepts %s', (text) => {
    expect(checkJson(text)).toEqual({ kind: 'valid', value: JSON.parse(text) as unknown });
  });
});

describe('checkKey', () => {
  it('refuses a key that the protocol has no room for', () => {
    expect(complaint(checkKey('k'.repeat(201)))).toMatch(/at most 200 characters; this one has 201/);
  });

  it('reads an empty field as no key', () => {
    expect(checkKey('')).toEqual({ kind: 'valid', value: undefined });
    expect(checkKey('EUR/USD')).toEqual({ kind: 'valid', value: 'EUR/USD' });
  });
});
