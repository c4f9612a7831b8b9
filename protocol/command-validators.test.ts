// Unit tests of reading commands: whatever arrives becomes a command or a typed error.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCommand } from './command-validators.ts';
import { commandSchemas } from './commands.ts';

describe('what is no command', () => {
  it.each<[unknown, string]>([
    [null, 'expected a command object, got null'],
    ['subscribe', 'expected a command object, got "subscribe"'],
    [[{ type: 'ping' }], 'expected a command object, got [{"type":"ping"}]'],
    [{}, 'type: expected the name of a command, got nothing'],
    [{ type: 7 }, 'type: expected the name of a command, got 7'],
  ])('%j is a bad request', (value, message) => {
    expect(parseCommand(value)).toEqual({ kind: 'error', error: 'badRequest', message });
  });

  it.each(['nothing', '__proto__', 'constructor', 'Ping', ''])('type %j is an unknown command', (type) => {
    expect(parseCommand({ type, id: 3 })).toEqual({
      kind: 'error',
      id: 3,
      error: 'unknownCommand',
      message: `no command is named "${type}"`,
    });
  });
});

describe('the id of a command at fault', () => {
  it('is echoed when it is valid', () => {
    expect(parseCommand({ type: 'subscribe', id: 2_147_483_647 })).toMatchObject({ id: 2_147_483_647 });
  });

  it.each([0, -1, 1.5, 2_147_483_648, '1', null, Number.NaN])('is not echoed when it is %j', (id) => {
    const result = parseCommand({ type: 'ping', id });
    expect(result).toMatchObject({ kind: 'error', error: 'badRequest' });
    expect(result).not.toHaveProperty('id');
  });
});

describe('a command with a wrong field', () => {
  it.each<[object, string]>([
    [{ type: 'subscribe', channel: 'a b' }, 'channel: expected channel name'],
    [{ type: 'subscribe', channel: 'ä' }, 'channel: expected channel name'],
    [{ type: 'subscribe', channel: 'a\n' }, 'channel: expected channel name'],
    [{ type: 'subscribe', channel: 'a'.repeat(201) }, 'channel: expected channel name'],
    [{ type: 'subscribe', channel: 'a', since: 'latest' }, 'since: expected {epoch, offset}, "earliest" or {last: n}'],
    [{ type: 'subscribe', channel: 'a', since: { last: -1 } }, 'since: expected'],
    [{ type: 'publish', channel: 'a' }, 'data: expected any JSON value, got nothing'],
    [{ type: 'history', channel: 'a', limit: 1001 }, 'limit: expected integer 1-1000, got 1001'],
    [{ type: 'ack', channel: 'a', offset: 1e300 }, 'offset: expected offset'],
    [{ type: 'connect', client: [] }, 'client: expected object, got []'],
  ])('%j says which', (value, message) => {
    const result = parseCommand(value);
    expect(result).toMatchObject({ kind: 'error', error: 'badRequest' });
    expect(result.kind === 'error' && result.message).toContain(message);
  });

  it('never repeats a token', () => {
    const result = parseCommand({ type: 'connect', token: { secret: 'hunter2' } });
    expect(JSON.stringify(result)).not.toContain('hunter2');
  });
});

describe('parsing', () => {
  it('returns a valid command as it came, unknown fields included', () => {
    const command = { type: 'publish', id: 1, channel: 'a', data: null, extra: true };
    expect(parseCommand(command)).toEqual({ kind: 'command', command });
  });

  it('never throws, whatever JSON arrives', () => {
    const type = fc.constantFrom(...Object.keys(commandSchemas), 'x');
    const near = fc
      .tuple(type, fc.dictionary(fc.constantFrom('id', 'channel', 'since', 'token', 'data', 'limit'), fc.jsonValue()))
      .map(([name, fields]) => ({ ...fields, type: name }));
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), near), (value) => {
        expect(['command', 'error']).toContain(parseCommand(value).kind);
      }),
    );
  });
});
