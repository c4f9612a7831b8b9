// Namespaces: what applies to the channels of one prefix, and how a file says so.
import type { Rate } from '../access/limits/rate.ts';
import { AUDIENCES, type NamespaceRights } from '../access/rights.ts';
import type { HistoryBounds } from '../../broker/publication.ts';
import { DEFAULT_NAMESPACE } from '../../protocol/channel-name.ts';
import { flatten, type RawValue } from './flatten.ts';
import {
  bytes,
  choice,
  choices,
  duration,
  flag,
  integer,
  none,
  rate,
  value,
  defaultOf,
  type DefaultContext,
  type ValuesOf,
} from './key-spec.ts';
import { parseValue } from './parse.ts';

const CHANNEL_CLASSES = ['durable', 'ephemeral'] as const;
const DELIVERY_POLICIES = ['all', 'latest', 'conflate', 'ack'] as const;

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const openInDevelopment = { kind: 'profile', development: 'everyone', production: 'nobody' } as const;

/** Keys of one namespace; the defaults are those of the namespace `default`. */
export const namespaceKeys = {
  class: choice(CHANNEL_CLASSES, {
    default: value('durable'),
    description: '`durable` numbers and keeps publications; `ephemeral` does neither and accepts holes.',
  }),
  historySize: integer(0, 100_000_000, {
    default: value(1000),
    description: 'Publications kept per channel, at most `maxHistorySize` (0: none; positions go on).',
  }),
  historyTtl: duration(1, 30 * DAY_MS, {
    default: value(10 * MINUTE_MS),
    description: 'How long a publication is kept.',
  }),
  policy: choice(DELIVERY_POLICIES, {
    default: value('all'),
    description: 'What a subscriber that is behind receives, unless its subscription asks for another policy.',
  }),
  policies: choices(DELIVERY_POLICIES, {
    default: none('only `policy`'),
    description: 'Policies a subscription may ask for.',
  }),
  presence: flag({ default: value(false), description: 'Whether members of a channel are tracked.' }),
  joinLeave: flag({ default: value(false), description: 'Whether `join` and `leave` are pushed.' }),
  subscribe: choice(AUDIENCES, { default: openInDevelopment, description: 'Who may subscribe.' }),
  publish: choice(AUDIENCES, { default: openInDevelopment, description: 'Which clients may publish.' }),
  membersAccess: choice(AUDIENCES, { default: openInDevelopment, description: 'Who may read presence.' }),
  historyAccess: choice(AUDIENCES, { default: openInDevelopment, description: 'Who may read history.' }),
  coalesce: duration(0, 1000, {
    default: none('as the node: `coalesceMs`, or as long as the load asks for'),
    description: 'Fixed wait for further messages before a flush of its channels (0: never wait).',
  }),
  kickBehind: duration(1, DAY_MS, {
    default: none('never'),
    description:
      'How long a subscription may be behind before its connection is closed with 3008; not with policy `ack`. By default slowness never costs a connection.',
  }),
  kickExpired: integer(1, 1_000_000, {
    default: none('never'),
    description:
      'How often what a subscription needs may have expired before it came to read it, until its connection is closed with 3008.',
  }),
  hookSubscribe: flag({
    default: value(true),
    description: 'Whether `hookSubscribeUrl`, where it is set, is asked about subscriptions.',
  }),
  hookPublish: flag({
    default: value(true),
    description: "Whether `hookPublishUrl`, where it is set, is asked about clients' publications.",
  }),
  hookEvents: flag({
    default: value(true),
    description: 'Whether `hookEventsUrl`, where it is set, is told when channels become occupied and vacated.',
  }),
  maxMessageBytes: bytes(1, 256 * 1024 * 1024, {
    default: none('only `maxFrameBytes` and `maxBodyBytes`'),
    description: 'Largest message, counted as its JSON with `data`, `key` and publisher.',
  }),
  rate: rate({
    default: none('only `maxPublishRate` and its like'),
    description:
      'What one client may publish to one channel: a user with all its connections to the node, an anonymous connection on its own. Beyond it error 111.',
  }),
} as const;

type NamespaceValues = ValuesOf<typeof namespaceKeys>;
type ChannelClass = NamespaceValues['class'];
type DeliveryPolicy = NamespaceValues['policy'];

export interface NamespaceConfig extends NamespaceRights {
  /** As configured; `default` also for channels whose namespace is not configured. */
  readonly name: string;
  readonly class: ChannelClass;
  /** One object per namespace. Ephemeral namespaces keep none: size 0. */
  readonly history: HistoryBounds;
  readonly policy: DeliveryPolicy;
  /** What a subscription may ask for; contains `policy`. */
  readonly policies: readonly DeliveryPolicy[];
  /** Fixed wait before a flush, ms; undefined: as the node. */
  readonly coalesce: number | undefined;
  /** Time a subscription may be behind, ms; undefined: any. */
  readonly kickBehind: number | undefined;
  /** Times what a subscription needs may have expired; undefined: any. */
  readonly kickExpired: number | undefined;
  readonly presence: boolean;
  readonly joinLeave: boolean;
  readonly hookSubscribe: boolean;
  readonly hookPublish: boolean;
  readonly hookEvents: boolean;
  /** Bytes of `data`; undefined: the bounds of frames and bodies alone apply. */
  readonly maxMessageBytes: number | undefined;
  /** What one client may publish to one channel. */
  readonly rate: Rate | undefined;
}

export interface ParsedNamespaces {
  /** Always contains `default`. */
  readonly namespaces: ReadonlyMap<string, NamespaceConfig>;
  readonly problems: readonly string[];
}

type Given = Partial<NamespaceValues>;

const builtIn = (context: DefaultContext, maxHistorySize: number): NamespaceValues => {
  const defaults = Object.entries(namespaceKeys).map(([key, spec]) => [key, defaultOf(spec, context)] as const);
  // Each default has the type its key declares.
  const values = Object.fromEntries(defaults) as unknown as NamespaceValues;
  return { ...values, historySize: Math.min(values.historySize, maxHistorySize) };
};

/**
 * What a namespace leaves out comes from `base`. A policy of its own brings its own list of policies; becoming ephemeral
 * leaves the policies of a durable base behind.
 */
const inherit = (base: NamespaceValues, given: Given): NamespaceValues => ({
  ...base,
  ...(given.class === 'ephemeral' && { policy: 'all', policies: undefined }),
  ...(given.policy !== undefined && { policies: undefined }),
  ...given,
});

const resolve = (name: string, values: NamespaceValues): NamespaceConfig => {
  const { historySize, historyTtl, policies, ...rest } = values;
  const kept = rest.class === 'ephemeral' ? 0 : historySize;
  return {
    ...rest,
    name,
    history: { size: kept, ttlMs: historyTtl },
    policies: policies ?? [rest.policy],
  };
};

/** Only what the namespace itself says is held against it, so that one mistake in `default` is one line. */
const contradictions = (values: NamespaceValues, given: Given, maxHistorySize: number): string[] => {
  const problems: string[] = [];
  const { historySize, policies } = given;
  const ownPolicies = given.policy !== undefined || policies !== undefined;
  if (historySize !== undefined && historySize > maxHistorySize) {
    problems.push(`history.size: expected at most maxHistorySize (${maxHistorySize}), got ${historySize}`);
  }
  if (policies !== undefined && !policies.includes(values.policy)) {
    problems.push(`policies: expected to contain policy "${values.policy}", got ${policies.join(', ')}`);
  }
  if (given.subscribe === 'subscribers') {
    problems.push('subscribe: "subscribers" would let nobody begin; expected everyone, authenticated or nobody');
  }
  if (values.class === 'ephemeral' && (historySize !== undefined || given.historyTtl !== undefined)) {
    problems.push('history: an ephemeral namespace keeps none; leave it out or use class durable');
  }
  if (values.class === 'ephemeral' && ownPolicies && [values.policy, ...(policies ?? [])].some((p) => p !== 'all')) {
    problems.push('policy: an ephemeral namespace has no positions to catch up from; expected all');
  }
  return problems;
};

const namePattern = /^[A-Za-z0-9_\-=@,.;/]{1,100}$/;

const parseGiven = (values: ReadonlyMap<string, RawValue>): { given: Given; problems: string[] } => {
  const given: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [key, { raw, place }] of values) {
    if (raw === null) continue;
    const parsed = parseValue(namespaceKeys[key as keyof typeof namespaceKeys], raw);
    if (parsed.kind === 'ok') given[key] = parsed.value;
    else problems.push(...parsed.problems.map((problem) => `${place}: ${problem}`));
  }
  // parseValue checked each value against the schema that the type comes from.
  return { given: given, problems };
};

/** `raw` is what stands under `namespaces` in the file; undefined: only the built-in `default`. Never throws. */
export const parseNamespaces = (
  raw: unknown,
  context: { readonly defaults: DefaultContext; readonly maxHistorySize: number; readonly place: string },
): ParsedNamespaces => {
  const { defaults, maxHistorySize, place } = context;
  const namespaces = new Map<string, NamespaceConfig>();
  const problems: string[] = [];
  const written = raw ?? new Map<unknown, unknown>();
  const parse = (name: string, settings: unknown, base: NamespaceValues): NamespaceValues => {
    const label = `${place}namespaces.${name}`;
    if (!namePattern.test(name)) {
      problems.push(`${label}: expected a namespace name of 1–100 characters of A-Za-z0-9_-=@,.;/`);
      return base;
    }
    if (settings !== null && !(settings instanceof Map)) {
      problems.push(`${label}: expected a mapping of settings`);
      return base;
    }
    const flat = flatten(settings ?? new Map<unknown, unknown>(), Object.keys(namespaceKeys), `${label}.`);
    const { given, problems: wrong } = parseGiven(flat.values);
    const values = inherit(base, given);
    const found = [...flat.problems, ...wrong];
    problems.push(...found, ...contradictions(values, given, maxHistorySize).map((problem) => `${label}.${problem}`));
    namespaces.set(name, resolve(name, values));
    return values;
  };
  if (!(written instanceof Map)) {
    problems.push(`${place}namespaces: expected a mapping of namespace names`);
    namespaces.set(DEFAULT_NAMESPACE, resolve(DEFAULT_NAMESPACE, builtIn(defaults, maxHistorySize)));
    return { namespaces, problems };
  }
  const base = parse(DEFAULT_NAMESPACE, written.get(DEFAULT_NAMESPACE) ?? null, builtIn(defaults, maxHistorySize));
  for (const [name, settings] of written as ReadonlyMap<unknown, unknown>) {
    if (name !== DEFAULT_NAMESPACE) parse(String(name), settings, base);
  }
  return { namespaces, problems };
};
