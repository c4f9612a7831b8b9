// Unit tests of reading HTTP requests: exclusive fields, bounds, coercion of query parameters.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBatch, parseChannel, parseChannelsQuery, parseHistoryQuery, parsePublish } from './http-requests.ts';

const problem = (path: string, expected: string, got: string) => ({ path, expected, got });

describe('a publish body', () => {
  it.each<[unknown, ReturnType<typeof problem>]>([
    [null, problem('', 'object', 'null')],
    [{ channel: 'a' }, problem('data', 'any JSON value', 'nothing')],
    [{ data: 1 }, problem('channel', 'exactly one of channel and channels', 'neither')],
    [{ channel: 'a', channels: ['b'], data: 1 }, problem('channel', 'exactly one of channel and channels', 'both')],
    [{ channels: [], data: 1 }, problem('channels', 'channel names (array of 1-1000 items)', '[]')],
    [{ channels: ['a', ' '], data: 1 }, problem('channels[1]', 'channel name (1-200 of A-Za-z0-9_-=@,.;/:)', '" "')],
    [{ channel: 'a', data: 1, ack: 'all' }, problem('ack', 'what the answer waits for ("log" or "fanout")', '"all"')],
    [
      { channel: 'a', data: 1, messageId: '' },
      problem('messageId', 'idempotency key (string of 1-200 characters)', '""'),
    ],
  ])('%j is a bad request', (body, first) => {
    expect(parsePublish(body)).toMatchObject({ kind: 'invalid', error: 'badRequest', problems: [first] });
  });

  it('with more than 1000 channels is over the limit', () => {
    const channels = Array.from({ length: 1001 }, (_, index) => `c${index}`);
    expect(parsePublish({ channels, data: 1 })).toEqual({
      kind: 'invalid',
      error: 'limitExceeded',
      problems: [problem('channels', 'at most 1000 channels', '1001')],
    });
  });

  it.each([
    { channel: 'a', data: null },
    { channels: ['a', 'b'], data: { x: 1 }, key: 'k', messageId: 'm', ack: 'fanout' },
  ])('%j is valid', (body) => {
    expect(parsePublish(body)).toEqual({ kind: 'valid', value: body });
  });
});

describe('a batch body', () => {
  it.each([null, [], {}, { commands: [] }, { commands: 'x' }])('%j is refused as a whole', (body) => {
    expect(parseBatch(body)).toMatchObject({ kind: 'invalid', error: 'badRequest', problems: [{ path: 'commands' }] });
  });

  it('with more than 1000 commands is over the limit', () => {
    expect(parseBatch({ commands: new Array(1001).fill({}) })).toMatchObject({
      error: 'limitExceeded',
      problems: [problem('commands', 'at most 1000 commands', '1001')],
    });
  });

  it('refuses only the commands at fault, each with its place', () => {
    const good = { channel: 'a', data: 1 };
    const body = { commands: [{ publish: good }, { publish: { channel: 'a' } }, { fly: {} }, null, { publish: null }] };
    expect(parseBatch(body)).toEqual({
      kind: 'valid',
      value: [
        { kind: 'publish', publish: good },
        {
          kind: 'invalid',
          error: 'badRequest',
          problems: [problem('commands[1].publish.data', 'any JSON value', 'nothing')],
        },
        {
          kind: 'invalid',
          error: 'unknownCommand',
          problems: [problem('commands[2]', '{publish: {…}}', '{"fly":{}}')],
        },
        { kind: 'invalid', error: 'badRequest', problems: [problem('commands[3]', '{publish: {…}}', 'null')] },
        { kind: 'invalid', error: 'badRequest', problems: [problem('commands[4].publish', 'object', 'null')] },
      ],
    });
  });
});

describe('a channel in a path', () => {
  it.each(['', 'a b', 'a'.repeat(201), 'ü'])('%j is a bad request', (name) => {
    expect(parseChannel(name)).toMatchObject({ kind: 'invalid', error: 'badRequest', problems: [{ path: 'channel' }] });
  });

  it('is valid with every character of the grammar', () => {
    expect(parseChannel('Aa0_-=@,.;/:')).toEqual({ kind: 'valid', value: 'Aa0_-=@,.;/:' });
  });
});

describe('a query', () => {
  it.each<[string, ReturnType<typeof problem>]>([
    ['limit=0', problem('limit', 'integer 1-1000', '0')],
    ['limit=1001', problem('limit', 'integer 1-1000', '1001')],
    ['limit=ten', problem('limit', 'integer 1-1000', '"ten"')],
    ['limit=', problem('limit', 'integer 1-1000', '""')],
    ['limit=1e2', problem('limit', 'integer 1-1000', '"1e2"')],
    ['reverse=yes', problem('reverse', 'true or false', '"yes"')],
    ['since_offset=-1&since_epoch=e', problem('since_offset', 'offset (integer 0 or more)', '"-1"')],
    ['since_offset=1', problem('since_epoch', 'since_epoch and since_offset together', 'nothing')],
    ['since_epoch=e', problem('since_offset', 'since_epoch and since_offset together', 'nothing')],
  ])('for history with %s is a bad request', (query, first) => {
    const result = parseHistoryQuery(new URLSearchParams(query));
    expect(result).toEqual({ kind: 'invalid', error: 'badRequest', problems: [first] });
  });

  it('for history gives numbers and booleans', () => {
    const query = new URLSearchParams('since_epoch=17&since_offset=42&limit=10&reverse=true&unknown=1&__proto__=2');
    expect(parseHistoryQuery(query)).toEqual({
      kind: 'valid',
      value: { since_epoch: '17', since_offset: 42, limit: 10, reverse: true },
    });
  });

  it('for channels keeps prefix and cursor as text', () => {
    expect(parseChannelsQuery(new URLSearchParams('prefix=12&cursor=&limit=5'))).toEqual({
      kind: 'valid',
      value: { prefix: '12', cursor: '', limit: 5 },
    });
  });

  it('for channels with an overlong prefix is a bad request', () => {
    expect(parseChannelsQuery([['prefix', 'x'.repeat(201)]])).toMatchObject({ problems: [{ path: 'prefix' }] });
  });
});

it('no request throws, whatever arrives', () => {
  const near = fc.record(
    { channel: fc.jsonValue(), channels: fc.jsonValue(), data: fc.jsonValue(), commands: fc.array(fc.jsonValue()) },
    { requiredKeys: [] },
  );
  const pairs = fc.array(fc.tuple(fc.constantFrom('limit', 'reverse', 'since_offset', 'x'), fc.string()));
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), near), pairs, (body, query) => {
      const results = [parsePublish(body), parseBatch(body), parseHistoryQuery(query), parseChannelsQuery(query)];
      for (const result of results) expect(['valid', 'invalid']).toContain(result.kind);
    }),
  );
});
