import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig, namespaceOfChannel } from '../config.ts';
import { DEFAULT_NAMESPACE } from '../../protocol/channel-name.ts';
import type { Profile } from './key-spec.ts';
import { parseNamespaces, type NamespaceConfig, type ParsedNamespaces } from './namespaces.ts';

const read = (yaml: string, profile: Profile = 'production', maxHistorySize = 100_000): ParsedNamespaces =>
  parseNamespaces(parse(yaml, { mapAsMap: true }), {
    defaults: { profile, hostname: 'h', randomId: (length) => 'r'.repeat(length), memoryLimitBytes: 1 },
    maxHistorySize,
    place: '',
  });
const namespace = (yaml: string, name: string, profile: Profile = 'production'): NamespaceConfig => {
  const { namespaces, problems } = read(yaml, profile);
  expect(problems).toEqual([]);
  return namespaces.get(name)!;
};

describe('parseNamespaces', () => {
  it.each<[yaml: string, problem: string]>([
    ['[a]', 'namespaces: expected a mapping of namespace names'],
    ['chat: on', 'namespaces.chat: expected a mapping of settings'],
    ['"a:b": {}', 'namespaces.a:b: expected a namespace name of 1–100 characters of A-Za-z0-9_-=@,.;/'],
    ['chat: { hstory: { size: 1 } }', 'namespaces.chat.hstory: unknown key; did you mean history?'],
    ['chat: { presense: true }', 'namespaces.chat.presense: unknown key; did you mean presence?'],
    ['chat: { class: solid }', 'namespaces.chat.class: expected durable or ephemeral, got "solid"'],
    [
      'chat: { publish: all }',
      'namespaces.chat.publish: expected everyone, authenticated, subscribers or nobody, got "all"',
    ],
    ['chat: { policies: [] }', 'namespaces.chat.policies: expected a list out of all, latest, conflate, ack, got []'],
    [
      'chat: { policies: [newest] }',
      'namespaces.chat.policies: expected a list out of all, latest, conflate, ack, got ["newest"]',
    ],
    [
      'chat: { history: { size: 100001 } }',
      'namespaces.chat.history.size: expected at most maxHistorySize (100000), got 100001',
    ],
    [
      'chat: { policy: latest, policies: [all] }',
      'namespaces.chat.policies: expected to contain policy "latest", got all',
    ],
    [
      'chat: { subscribe: subscribers }',
      'namespaces.chat.subscribe: "subscribers" would let nobody begin; expected everyone, authenticated or nobody',
    ],
    [
      'chat: { class: ephemeral, history: { size: 5 } }',
      'namespaces.chat.history: an ephemeral namespace keeps none; leave it out or use class durable',
    ],
    [
      'chat: { class: ephemeral, policy: latest }',
      'namespaces.chat.policy: an ephemeral namespace has no positions to catch up from; expected all',
    ],
    [
      'default: { subscribe: subscribers }\nchat: {}\nnews: {}',
      'namespaces.default.subscribe: "subscribers" would let nobody begin; expected everyone, authenticated or nobody',
    ],
  ])('refuses %j', (yaml, problem) => {
    expect(read(yaml).problems).toEqual([problem]);
  });

  it.each(['0', '-5s', '31d', 'soon', '[1]'])('refuses a time to live of %s', (ttl) => {
    expect(read(`chat: { history: { ttl: ${ttl} } }`).problems).toEqual([
      expect.stringMatching(/^namespaces\.chat\.history\.ttl: expected a duration of 1–2592000000 ms/),
    ]);
  });

  it('always has the default namespace, also when something else is wrong', () => {
    expect(read('7').namespaces.has(DEFAULT_NAMESPACE)).toBe(true);
    expect(read('default: 7').namespaces.size).toBeLessThanOrEqual(1);
  });

  it('has the built-in default of the protocol', () => {
    expect(namespace('', 'default')).toEqual({
      name: 'default',
      class: 'durable',
      history: { size: 1000, ttlMs: 600_000 },
      policy: 'all',
      policies: ['all'],
      presence: false,
      joinLeave: false,
      hookSubscribe: true,
      hookPublish: true,
      hookEvents: true,
      subscribe: 'nobody',
      publish: 'nobody',
      membersAccess: 'nobody',
      historyAccess: 'nobody',
      maxMessageBytes: undefined,
    });
    expect(namespace('', 'default', 'development')).toMatchObject({
      subscribe: 'everyone',
      publish: 'everyone',
      membersAccess: 'everyone',
      historyAccess: 'everyone',
    });
  });

  it("reads the protocol's example", () => {
    const yaml = `
default: { history: { size: 1000, ttl: 10m }, policy: all }
price:   { policy: latest, policies: [latest, all] }
cursor:  { class: ephemeral, publish: subscribers }
chat:    { presence: true, joinLeave: true }`;
    expect([...read(yaml).namespaces.keys()]).toEqual(['default', 'price', 'cursor', 'chat']);
    expect(namespace(yaml, 'price')).toMatchObject({ policy: 'latest', policies: ['latest', 'all'] });
    expect(namespace(yaml, 'cursor')).toMatchObject({
      class: 'ephemeral',
      publish: 'subscribers',
      history: { size: 0 },
    });
    expect(namespace(yaml, 'chat')).toMatchObject({ presence: true, joinLeave: true, history: { size: 1000 } });
  });

  it('takes from default what a namespace leaves out, wherever default stands', () => {
    const yaml =
      'chat: { presence: true }\ndefault: { subscribe: everyone, history: { ttl: 1h }, maxMessageBytes: 4KiB }';
    expect(namespace(yaml, 'chat')).toMatchObject({
      name: 'chat',
      subscribe: 'everyone',
      publish: 'nobody',
      history: { size: 1000, ttlMs: 3_600_000 },
      maxMessageBytes: 4096,
    });
  });

  it('does not let policies of default follow into a namespace with its own policy or class', () => {
    const yaml =
      'default: { policy: latest, policies: [latest, all] }\nack: { policy: ack }\ncursor: { class: ephemeral }\nchat:';
    expect(namespace(yaml, 'ack')).toMatchObject({ policy: 'ack', policies: ['ack'] });
    expect(namespace(yaml, 'cursor')).toMatchObject({ policy: 'all', policies: ['all'] });
    expect(namespace(yaml, 'chat')).toMatchObject({ policy: 'latest', policies: ['latest', 'all'] });
  });

  it('keeps the built-in history within maxHistorySize', () => {
    const { namespaces, problems } = read('chat: {}', 'production', 100);
    expect(problems).toEqual([]);
    expect(namespaces.get('chat')?.history.size).toBe(100);
  });

  it('answers any value', () => {
    fc.assert(fc.property(fc.json(), (json) => void read(json)));
    fc.assert(fc.property(fc.json(), (json) => void read(`{ a: ${json}, default: ${json} }`)));
  });
});

describe('namespaceOfChannel', () => {
  const result = loadConfig({
    argv: [],
    env: { WEIR_CONFIG: 'weir.yaml' },
    readFile: () => 'namespaces: { price: { policy: latest } }',
  });

  it.each<[channel: string, name: string]>([
    ['news', 'default'],
    ['chat:1', 'default'],
    [':1', 'default'],
    ['constructor:1', 'default'],
    ['__proto__:1', 'default'],
    ['price', 'default'],
    ['default:1', 'default'],
    ['price:1', 'price'],
    ['price:eu:1', 'price'],
  ])('gives the channel %s the settings of %s', (channel, name) => {
    expect(result.kind === 'ok' && namespaceOfChannel(result.config, channel).name).toBe(name);
  });
});
